import { type Interval, Z_95 } from './intervals.ts';

/**
 * Area under the ROC curve: the chance that an attack scores above a benign row, ties counting half. Interval by DeLong
 * (1988) in the rank form of Sun and Xu (2014), cut at 0 and 1. 0.5, from 0 to 1, where a class is absent.
 * O(n log n).
 */
export function auc(probability: ArrayLike<number>, labels: ArrayLike<number>): Interval {
  const attack: number[] = [];
  const benign: number[] = [];
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 1) attack.push(probability[i] as number);
    else benign.push(probability[i] as number);
  }
  const m = attack.length;
  const n = benign.length;
  if (m === 0 || n === 0) return { value: 0.5, low: 0, high: 1 };
  const inAll = midranks(Float64Array.from([...attack, ...benign]));
  const inAttack = midranks(Float64Array.from(attack));
  const inBenign = midranks(Float64Array.from(benign));
  // Share of the other class that each row stands on the right side of.
  const v10 = inAttack.map((rank, i) => ((inAll[i] as number) - rank) / n);
  const v01 = inBenign.map((rank, j) => 1 - ((inAll[m + j] as number) - rank) / m);
  const value = mean(v10);
  const half = Z_95 * Math.sqrt(variance(v10, value) / m + variance(v01, mean(v01)) / n);
  return { value, low: Math.max(0, value - half), high: Math.min(1, value + half) };
}

/** Ranks from 1; equal values share the mean of their ranks. */
export function midranks(values: Float64Array): Float64Array {
  const order = Uint32Array.from(values.keys()).sort((a, b) => (values[a] as number) - (values[b] as number));
  const ranks = new Float64Array(values.length);
  for (let i = 0; i < order.length; ) {
    let j = i + 1;
    while (j < order.length && values[order[j] as number] === values[order[i] as number]) j++;
    for (let k = i; k < j; k++) ranks[order[k] as number] = (i + 1 + j) / 2;
    i = j;
  }
  return ranks;
}

function mean(values: Float64Array): number {
  let sum = 0;
  for (const v of values) sum += v;
  return sum / values.length;
}

function variance(values: Float64Array, centre: number): number {
  if (values.length < 2) return 0;
  let sum = 0;
  for (const v of values) sum += (v - centre) ** 2;
  return sum / (values.length - 1);
}
