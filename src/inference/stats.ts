import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { HistogramCounts, Milliseconds } from '../base/index.ts';
import type { Score } from '../models/index.ts';
import { REFUSAL_REASONS, type RefusalReason } from './admission/refusal.ts';
import type { InferenceErrorCode } from './errors.ts';
import { Executions } from './executions.ts';
import { BucketHistogram } from './latency-histogram.ts';
import type { SchedulerStats } from './scheduler.ts';
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
  /** Requests refused for want of room, by reason. */
  readonly shed: Readonly<Record<RefusalReason, number>>;
  /** Since the start, by name of the model. */
  readonly models: Readonly<Record<string, { readonly requests: number; readonly rows: number }>>;
  readonly scheduler?: SchedulerStats;
}

/** Seconds; `batchRows` in rows. */
export interface InferenceHistograms {
  /** From the call to the first row's scoring. */
  readonly queue: HistogramCounts;
  /** The model's own time. */
  readonly score: HistogramCounts;
  readonly total: HistogramCounts;
  readonly batchRows: HistogramCounts;
}

const BATCH_ROWS = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];

/** Counts what the engine does. Recording costs some tens of nanoseconds (an HDR histogram in native code). */
export class EngineCounters {
  requests = 0;
  rows = 0;
  degraded = 0;
  inFlight = 0;
  swaps = 0;
  readonly executions = new Executions();
  readonly #verdicts = new Float64Array(VERDICTS.length);
  readonly refused: Partial<Record<InferenceErrorCode, number>> = {};
  readonly #latency: RecordableHistogram = createHistogram();
  readonly #shed = new Map<RefusalReason, number>(REFUSAL_REASONS.map((reason) => [reason, 0]));
  readonly #models = new Map<string, { requests: number; rows: number }>();
  readonly #queue = new BucketHistogram();
  readonly #score = new BucketHistogram();
  readonly #total = new BucketHistogram();
  readonly #batchRows = new BucketHistogram(BATCH_ROWS);

  /** By its index in VERDICTS. */
  countVerdict(verdict: number): void {
    this.#verdicts[verdict] = (this.#verdicts[verdict] as number) + 1;
  }

  refuse(code: InferenceErrorCode): void {
    this.refused[code] = (this.refused[code] ?? 0) + 1;
  }

  shed(reason: RefusalReason): void {
    this.#shed.set(reason, (this.#shed.get(reason) ?? 0) + 1);
  }

  /** Rows that a model computed together. */
  batch(served: { readonly info: Score['model'] }, rows: number, took: Milliseconds): void {
    this.#batchRows.observe(rows);
    this.executions.add(served, rows, took);
  }

  /** The model answered; how long it waited to be asked, and how long it took. */
  scored(waited: Milliseconds, spent: Milliseconds): void {
    this.#queue.observeMs(waited);
    this.#score.observeMs(spent);
  }

  /** A request was answered. The histogram counts whole nanoseconds from 1. */
  answer(name: string, rows: number, latencyMs: Milliseconds): void {
    this.rows += rows;
    let model = this.#models.get(name);
    if (model === undefined) {
      model = { requests: 0, rows: 0 };
      this.#models.set(name, model);
    }
    model.requests++;
    model.rows += rows;
    this.#total.observeMs(latencyMs);
    this.#latency.record(Math.max(1, Math.round(latencyMs * 1e6)));
  }

  /** A name is gone for good. */
  forget(name: string): void {
    this.#models.delete(name);
  }

  histograms(): InferenceHistograms {
    return {
      queue: this.#queue.snapshot(),
      score: this.#score.snapshot(),
      total: this.#total.snapshot(),
      batchRows: this.#batchRows.snapshot(),
    };
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
      shed: Object.fromEntries(this.#shed) as Record<RefusalReason, number>,
      models: Object.fromEntries([...this.#models].map(([name, counts]) => [name, { ...counts }])),
    };
  }
}
