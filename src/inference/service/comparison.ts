import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Milliseconds } from '../../base/index.ts';
import { DRIFT_DEFAULTS, type Score } from '../../models/index.ts';
import { VERDICTS } from '../score-columns.ts';
import type { LatencySummary } from '../stats.ts';
import type { BreakerCause } from './circuit-breaker.ts';

export const SIDES = ['champion', 'candidate'] as const;
export type Side = (typeof SIDES)[number];

/** What one of two versions did since the rollout began. */
export interface SideReport {
  readonly version: string;
  /** Rows of which its verdict was the answer. */
  readonly decidedRows: number;
  /** Rows it scored only to be compared. */
  readonly mirroredRows: number;
  /** Calls that failed, by cause. */
  readonly errors: Readonly<Partial<Record<BreakerCause, number>>>;
  /** Time in the model, a call of any number of rows. */
  readonly latencyMs: LatencySummary;
}

/** Two versions on the same rows. */
export interface ComparisonReport {
  readonly champion: SideReport;
  readonly candidate: SideReport;
  readonly comparedRows: number;
  /** Rows by the champion's verdict, then by the candidate's. */
  readonly agreement: Readonly<Record<Score['verdict'], Readonly<Record<Score['verdict'], number>>>>;
  /** Share of compared rows with the same verdict; null where there are none. */
  readonly agreed: number | null;
  /** Population stability index of the candidate's scores against the champion's; null below 500 compared rows. */
  readonly scorePsi: number | null;
  /** Rows that were not compared because there was no time or room. */
  readonly droppedRows: number;
}

const BINS = 20;
const WIDTH = VERDICTS.length;

/** Counts what two versions do; fixed memory, whatever the traffic. */
export class Comparison {
  droppedRows = 0;
  readonly #sides: Readonly<Record<Side, SideCounters>>;
  readonly #agreement = new Float64Array(WIDTH * WIDTH);
  #compared = 0;

  constructor(versions: Readonly<Record<Side, string>>) {
    this.#sides = {
      champion: new SideCounters(versions.champion),
      candidate: new SideCounters(versions.candidate),
    };
  }

  /** A call whose answer was this side's. */
  decided(side: Side, rows: number, took: Milliseconds): void {
    const counters = this.#sides[side];
    counters.decidedRows += rows;
    counters.took(took);
  }

  /** A call that this side made only to be compared. */
  mirrored(side: Side, rows: number, took: Milliseconds): void {
    const counters = this.#sides[side];
    counters.mirroredRows += rows;
    counters.took(took);
  }

  failed(side: Side, cause: BreakerCause): void {
    const { errors } = this.#sides[side];
    errors[cause] = (errors[cause] ?? 0) + 1;
  }

  /** One row scored by both; verdicts by their index in VERDICTS. */
  add(champion: number, candidate: number, championScore: number, candidateScore: number): void {
    const at = champion * WIDTH + candidate;
    this.#agreement[at] = (this.#agreement[at] as number) + 1;
    this.#sides.champion.bin(championScore);
    this.#sides.candidate.bin(candidateScore);
    this.#compared++;
  }

  report(): ComparisonReport {
    const cell = (i: number, j: number) => this.#agreement[i * WIDTH + j] as number;
    const same = VERDICTS.reduce((sum, _, i) => sum + cell(i, i), 0);
    return {
      champion: this.#sides.champion.report(),
      candidate: this.#sides.candidate.report(),
      comparedRows: this.#compared,
      agreement: byVerdict((i) => byVerdict((j) => cell(i, j))),
      agreed: this.#compared === 0 ? null : same / this.#compared,
      scorePsi:
        this.#compared < DRIFT_DEFAULTS.minRows
          ? null
          : stabilityIndex(this.#sides.candidate.bins, this.#sides.champion.bins),
      droppedRows: this.droppedRows,
    };
  }
}

/** `of` is given the index in VERDICTS. */
function byVerdict<T>(of: (at: number) => T): Readonly<Record<Score['verdict'], T>> {
  const at = (verdict: Score['verdict']) => of(VERDICTS.indexOf(verdict));
  return { benign: at('benign'), attack: at('attack'), abstain: at('abstain') };
}

/** Sum of (p - q) ln(p / q) over the bins that either has; half a row is added to each, so that an empty one has a logarithm. */
export function stabilityIndex(live: Float64Array, reference: Float64Array): number {
  const used = Array.from(live.keys()).filter((b) => (live[b] as number) + (reference[b] as number) > 0);
  const n = used.reduce((sum, b) => sum + (live[b] as number) + 0.5, 0);
  const m = used.reduce((sum, b) => sum + (reference[b] as number) + 0.5, 0);
  return used.reduce((sum, b) => {
    const p = ((live[b] as number) + 0.5) / n;
    const q = ((reference[b] as number) + 0.5) / m;
    return sum + (p - q) * Math.log(p / q);
  }, 0);
}

class SideCounters {
  readonly version: string;
  decidedRows = 0;
  mirroredRows = 0;
  readonly errors: Partial<Record<BreakerCause, number>> = {};
  /** Float64Array, rows a twentieth of the scores. */
  readonly bins = new Float64Array(BINS);
  readonly #latency: RecordableHistogram = createHistogram();

  constructor(version: string) {
    this.version = version;
  }

  took(ms: Milliseconds): void {
    this.#latency.record(Math.max(1, Math.round(ms * 1e6)));
  }

  bin(score: number): void {
    const at = Math.min(BINS - 1, Math.floor(score * BINS));
    this.bins[at] = (this.bins[at] as number) + 1;
  }

  report(): SideReport {
    const h = this.#latency;
    const ms = (nanoseconds: number) => (h.count === 0 ? 0 : nanoseconds / 1e6);
    const { version, decidedRows, mirroredRows } = this;
    return {
      version,
      decidedRows,
      mirroredRows,
      errors: { ...this.errors },
      latencyMs: {
        count: h.count,
        p50: ms(h.percentile(50)),
        p99: ms(h.percentile(99)),
        max: ms(h.max),
        mean: ms(h.mean),
      },
    };
  }
}
