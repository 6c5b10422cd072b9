import type { Interval } from '../../models/index.ts';

/** Decisions of two models on the same rows. */
export interface PairedDecisions {
  /** Float32Array or alike, one a row, and the threshold they are held against. */
  readonly candidate: { readonly probability: ArrayLike<number>; readonly threshold: number };
  readonly champion: { readonly probability: ArrayLike<number>; readonly threshold: number };
  /** 1 attack, 0 benign. */
  readonly labels: ArrayLike<number>;
}

export interface PairedDifference extends Interval {
  /** Rows that only the candidate, and that only the champion got right. */
  readonly candidateOnly: number;
  readonly championOnly: number;
}

const Z_95 = 1.959963984540054;

/**
 * Balanced accuracy of the candidate minus the champion's, paired by row, in [-1, 1]. In each class the difference is
 * (b - c) / n with b and c the rows that only one of the two got right, and McNemar's variance
 * ((b + c) / n - ((b - c) / n)^2) / n; the classes are independent, each counts one half. Two models that never
 * disagree differ by 0 with certainty on these rows. Undefined where a class is absent.
 */
export function pairedDifference(decisions: PairedDecisions): PairedDifference | undefined {
  const { candidate, champion, labels } = decisions;
  const n = [0, 0];
  const candidateOnly = [0, 0];
  const championOnly = [0, 0];
  for (let r = 0; r < labels.length; r++) {
    const label = labels[r] as number;
    const isAttack = label === 1;
    const mine = (candidate.probability[r] as number) >= candidate.threshold === isAttack;
    const theirs = (champion.probability[r] as number) >= champion.threshold === isAttack;
    n[label]!++;
    if (mine && !theirs) candidateOnly[label]!++;
    if (theirs && !mine) championOnly[label]!++;
  }
  if (n[0] === 0 || n[1] === 0) return undefined;
  let value = 0;
  let variance = 0;
  for (const label of [0, 1]) {
    const rows = n[label] as number;
    const b = candidateOnly[label] as number;
    const c = championOnly[label] as number;
    const difference = (b - c) / rows;
    value += difference / 2;
    variance += ((b + c) / rows - difference ** 2) / rows / 4;
  }
  const half = Z_95 * Math.sqrt(variance);
  return {
    value,
    low: Math.max(-1, value - half),
    high: Math.min(1, value + half),
    candidateOnly: (candidateOnly[0] as number) + (candidateOnly[1] as number),
    championOnly: (championOnly[0] as number) + (championOnly[1] as number),
  };
}
