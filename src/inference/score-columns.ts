import type { Milliseconds } from '../base/index.ts';
import type { CertificateState, Score, ScoreBatchBuffers } from '../models/index.ts';

/** Verdicts by the index that columns hold. */
export const VERDICTS = ['benign', 'attack', 'abstain'] as const satisfies readonly Score['verdict'][];
export const BENIGN = 0;
export const ATTACK = 1;
export const ABSTAIN = 2;

/** States of a certificate by the index that columns hold. */
export const CERTIFICATE_STATES = [
  'absent',
  'suspended',
  'refused',
  'uncovered',
  'active',
] as const satisfies readonly CertificateState[];

/** What the engine says of a batch, a column each and no object a row. The arrays are the caller's, `rows` long. */
export interface ScoreColumns extends ScoreBatchBuffers {
  readonly model: Score['model'];
  readonly rows: number;
  /** Float32Array, calibrated P(attack); where no model answered, its threshold. */
  readonly probability: Float32Array;
  /** Index into VERDICTS. */
  readonly verdict: Uint8Array;
  /** Index into `kinds`; -1 where none is named, and for whatever is no attack. */
  readonly kind: Int16Array;
  readonly kinds: readonly string[];
  /** Index into CERTIFICATE_STATES. */
  readonly certificate: Uint8Array;
  /**
   * Why no model decided a row, by row; absent where there is none. A row without a reason that abstains lay below the
   * confidence that is demanded.
   */
  readonly reasons?: ReadonlyMap<number, string>;
  /** From the call to the scoring of its first row; 0 where no model scored it. */
  readonly waitedMs: Milliseconds;
  /** Why the answer, or a part of it, is not that of the model asked. */
  readonly degraded?: string;
}

/** The arrays of an answer, made for one request. */
export interface ColumnArrays extends ScoreBatchBuffers {
  readonly verdict: Uint8Array;
  readonly certificate: Uint8Array;
}

export function newColumnArrays(rows: number): ColumnArrays {
  return {
    probability: new Float32Array(rows),
    verdict: new Uint8Array(rows),
    kind: new Int16Array(rows),
    certificate: new Uint8Array(rows),
  };
}
