import type { Milliseconds } from '../../base/index.ts';
import type { ColumnCodec } from '../column-codec.ts';

/** What is known of a value at a time. */
export type ValueState = 'present' | 'stale' | 'missing' | 'invalid';

/** A value with the time from which it was known; `value` undefined: the source was asked and has none. */
export interface KnownValue<V> {
  readonly value: V | undefined;
  readonly sinceMs: Milliseconds;
  /** How long it holds. */
  readonly ttlMs: Milliseconds;
}

/**
 * The one rule of age, for training and for live traffic alike: the caller passes the time of the row. What became known
 * only after that time is missing, or training would look into the future; what is past its time is stale.
 */
export function stateOf(known: KnownValue<unknown> | undefined, atMs: Milliseconds): ValueState {
  if (known === undefined || known.value === undefined || atMs < known.sinceMs) return 'missing';
  return atMs <= known.sinceMs + known.ttlMs ? 'present' : 'stale';
}

/** What becomes of a value in a column, by its state: nothing old is taken for new, nothing absent for zero. */
const COLUMN_RULE: Readonly<Record<ValueState, (codec: ColumnCodec, value: number) => number>> = {
  present: (codec, value) => codec.fromNumber(value),
  stale: (codec) => codec.fromNothing(),
  missing: (codec) => codec.fromNothing(),
  // The codec refuses, clips or drops it, by the schema.
  invalid: (codec, value) => codec.fromNumber(value),
};

/**
 * The float of a column for a cached number at the time of a row. A value goes through range and transform of the
 * schema; a stale or missing one is what the schema says of missing values, an invalid one what it says of invalid
 * ones. `codec.problem` tells why a row is refused.
 */
export function encodeKnown(
  codec: ColumnCodec,
  known: KnownValue<number> | undefined,
  atMs: Milliseconds,
): { readonly state: ValueState; readonly float: number } {
  const age = stateOf(known, atMs);
  const value = known?.value ?? Number.NaN;
  const state = age === 'present' && !fits(codec, value) ? 'invalid' : age;
  return { state, float: COLUMN_RULE[state](codec, value) };
}

function fits({ column: { range } }: ColumnCodec, value: number): boolean {
  return Number.isFinite(value) && (range === undefined || (value >= range[0] && value <= range[1]));
}
