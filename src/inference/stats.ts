import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Milliseconds } from '../base/index.ts';
import type { Score } from '../models/index.ts';
import type { InferenceErrorCode } from './errors.ts';
import { VERDICTS } from './score-columns.ts';

export interface LatencySummary {
  readonly count: number;
  readonly p50: Milliseconds;
  readonly p99: Milliseconds;
  readonly max: Milliseconds;
  readonly mean: Milliseconds;
}

export interface InferenceStats {
  readonly requests: number;
  readonly rows: number;
  readonly verdicts: Readonly<Record<Score['verdict'], number>>;
  /** Rows answered by a fallback. */
  readonly degraded: number;
  /** Requests refused, by code. */
  readonly refused: Readonly<Partial<Record<InferenceErrorCode, number>>>;
  /** Requests being scored now. */
  readonly inFlight: number;
  /** Models put in place since the start. */
  readonly swaps: number;
  /** From the call to its answer, requests that were answered. */
  readonly latencyMs: LatencySummary;
}

/** Counts what the engine does. Recording costs some tens of nanoseconds (an HDR histogram in native code). */
export class EngineCounters {
  requests = 0;
  rows = 0;
  degraded = 0;
  inFlight = 0;
  swaps = 0;
  readonly #verdicts = new Float64Array(VERDICTS.length);
  readonly refused: Partial<Record<InferenceErrorCode, number>> = {};
  readonly #latency: RecordableHistogram = createHistogram();

  /** By its index in VERDICTS. */
  countVerdict(verdict: number): void {
    this.#verdicts[verdict] = (this.#verdicts[verdict] as number) + 1;
  }

  refuse(code: InferenceErrorCode): void {
    this.refused[code] = (this.refused[code] ?? 0) + 1;
  }

  /** The histogram counts whole nanoseconds from 1. */
  answer(latencyMs: Milliseconds): void {
    this.#latency.record(Math.max(1, Math.round(latencyMs * 1e6)));
  }

  snapshot(): InferenceStats {
    const h = this.#latency;
    const latencyMs =
      h.count === 0
        ? { count: 0, p50: 0, p99: 0, max: 0, mean: 0 }
        : {
            count: h.count,
            p50: h.percentile(50) / 1e6,
            p99: h.percentile(99) / 1e6,
            max: h.max / 1e6,
            mean: h.mean / 1e6,
          };
    const [benign = 0, attack = 0, abstain = 0] = this.#verdicts;
    const { requests, rows, degraded, inFlight, swaps } = this;
    return {
      requests,
      rows,
      verdicts: { attack, benign, abstain },
      degraded,
      refused: { ...this.refused },
      inFlight,
      swaps,
      latencyMs,
    };
  }
}
