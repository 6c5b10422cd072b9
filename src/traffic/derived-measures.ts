import type { Milliseconds } from '../base/index.ts';
import type { DirectionCounts } from './flow.ts';
import { DIRECTION_MEASURES, type Measure } from './flow-measures.ts';

/** What a source says of one direction beyond its counts. */
export interface ReportedDirection {
  /** From the direction's first packet to its last. */
  readonly durationMs?: Milliseconds;
  /** IP bytes of the shortest and the longest packet. */
  readonly lengthMin?: number;
  readonly lengthMax?: number;
}

/** Measures of a flow while they are gathered. */
export type MeasureValues = Partial<Record<Measure, number>>;

const TCP = 6;

/**
 * Adds to `measures` what follows of one direction with certainty from what a source reports of it: everything is 0
 * where the direction has no packet; lengths and their spread where it has one; mean length and mean time between
 * packets from sums; nothing of TCP for other protocols. What is not reported (NaN, undefined) gives no measure.
 */
export function addDirectionMeasures(
  measures: MeasureValues,
  side: 'forward' | 'backward',
  protocol: number,
  { packets, bytes }: DirectionCounts,
  reported: ReportedDirection = {},
): void {
  const put = (name: (typeof DIRECTION_MEASURES)[number], value: number | undefined) => {
    if (value !== undefined && !Number.isNaN(value)) measures[`${side}_${name}`] = value;
  };
  if (packets === 0) {
    for (const name of DIRECTION_MEASURES) put(name, 0);
    return;
  }
  const one = packets === 1;
  put('length_min', one ? bytes : reported.lengthMin);
  put('length_max', one ? bytes : reported.lengthMax);
  put('length_mean', bytes / packets);
  const isSpreadKnown =
    one || (reported.lengthMin !== undefined && reported.lengthMin === reported.lengthMax);
  if (isSpreadKnown) put('length_std', 0);
  const durationMs = one ? 0 : reported.durationMs;
  put('duration_ms', durationMs);
  if (durationMs !== undefined) put('iat_mean_ms', one ? 0 : durationMs / (packets - 1));
  if (one || packets === 2) {
    for (const name of ['iat_min_ms', 'iat_max_ms'] as const) put(name, durationMs);
    put('iat_std_ms', durationMs === undefined ? undefined : 0);
  }
  if (protocol !== TCP) {
    for (const name of ['retransmitted_packets', 'retransmitted_bytes', 'out_of_order_packets'] as const) {
      put(name, 0);
    }
    put('window_max', 0);
  }
}
