import type { Clock, Digest, Milliseconds } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { DetectionModel, OperatingPointName, Score } from '../models/index.ts';
import type { CertificateWatch } from './certificate-watch.ts';
import { InferenceError } from './errors.ts';
import type { DeviceScorer } from './gpu/gpu-scoring.ts';
import { inlineRuntime, type ModelRuntime } from './model-runtime.ts';
import {
  ABSTAIN,
  ATTACK,
  BENIGN,
  CERTIFICATE_STATES,
  type ColumnArrays,
  newColumnArrays,
} from './score-columns.ts';
import { CircuitBreaker } from './service/circuit-breaker.ts';
import { BREAKER_DEFAULTS } from './service/config.ts';

/** What scoring needs of a verified model. Only `Engine.load` makes one of these from outside. */
export interface ModelToServe {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  /** As the signed manifest says; the model's own list must agree. */
  readonly sourceKinds: readonly string[];
  readonly model: DetectionModel;
  /** What computes the model's probabilities; the model itself on this thread by default. */
  readonly runtime?: ModelRuntime | undefined;
}

/** Rows of attacks that are explained in one part of a batch: a flood must not pay for each of its flows. */
export const EXPLAINED_ROWS = 32;
const TOP_FEATURES = 5;
const WARM_UP_ROUNDS = 3;
/** Single rows are scored by other code than batches, and are most of what comes. */
const SINGLE_ROUNDS = 256;
const ABSENT = CERTIFICATE_STATES.indexOf('absent');
const UNCOVERED = CERTIFICATE_STATES.indexOf('uncovered');
const ACTIVE = CERTIFICATE_STATES.indexOf('active');

/**
 * How far a probability lies from the threshold, as a confidence in [0.5, 1]: each side of the threshold is
 * stretched linearly onto half of the unit interval, q = p / 2t below it and 1 - (1 - p) / 2(1 - t) above,
 * and the confidence is max(q, 1 - q). At a threshold of 0.5 this is max(p, 1 - p).
 */
export function confidenceOf(probability: number, threshold: number): number {
  if (probability < threshold) return 1 - probability / (2 * threshold);
  return threshold >= 1 ? 1 : 1 - (1 - probability) / (2 * (1 - threshold));
}

/** One model in place: what it computes, what follows from that for each row, and what its certificate is worth. */
export class ServedModel {
  readonly info: Score['model'];
  readonly schemaId: Digest;
  readonly sourceKinds: ReadonlySet<string>;
  readonly columns: number;
  readonly kinds: readonly string[];
  /** By which it decides. */
  readonly threshold: number;
  readonly runtime: ModelRuntime;
  /** Among the model's thresholds, as it was chosen; the model's own where it is left out or the model has no other. */
  readonly operatingPoint: OperatingPointName | undefined;
  /** Scores its large batches where a GPU is faster. */
  device: DeviceScorer | undefined;
  /** What a row of a full batch takes on this thread, as its warm-up measured; 0 where it has not. */
  rowCostMs: Milliseconds = 0;
  readonly #model: DetectionModel;
  readonly #batchSize: number;
  #watch: CertificateWatch | undefined;
  #breaker = new CircuitBreaker({ config: BREAKER_DEFAULTS, random: Math.random });

  /** `operatingPoint` chooses among the model's thresholds where it has that one; left out, the model's own. */
  constructor(served: ModelToServe, batchSize: number, operatingPoint?: OperatingPointName) {
    const { name, version, digest } = served;
    const isOffered = served.model.operatingPoints?.some((point) => point.name === operatingPoint);
    const model =
      (operatingPoint !== undefined && isOffered && served.model.at?.(operatingPoint)) || served.model;
    if (model.schemaId !== served.schemaId) {
      throw new InferenceError(
        'inference.schema-mismatch',
        `the manifest of ${name}@${version} names schema ${served.schemaId}, its model ${model.schemaId}`,
      );
    }
    this.info = Object.freeze({ name, version, digest });
    this.schemaId = served.schemaId;
    this.sourceKinds = new Set(served.sourceKinds.filter((kind) => model.sourceKinds.includes(kind)));
    this.columns = model.columnNames.length;
    this.kinds = model.kinds;
    this.threshold = model.threshold;
    this.runtime = served.runtime ?? inlineRuntime(model);
    this.operatingPoint = operatingPoint;
    this.#model = model;
    this.#batchSize = batchSize;
  }

  /** Of its certificate; absent where it has none. */
  get watch(): CertificateWatch | undefined {
    return this.#watch;
  }

  /** At the threshold by which it decides. */
  get model(): DetectionModel {
    return this.#model;
  }

  /** Probabilities at which something else is decided: a verdict, whether it is sure enough, what the certificate says. */
  cuts({ confidenceThreshold }: { readonly confidenceThreshold: number }): readonly number[] {
    const { threshold } = this;
    const unsure = 2 * (1 - confidenceThreshold);
    const abstains = confidenceThreshold > 0.5 ? [threshold * unsure, 1 - (1 - threshold) * unsure] : [];
    return [threshold, ...abstains, ...(this.#watch?.cuts ?? [])];
  }

  /** To be called before it serves; what is decided before that has no certificate. */
  watchCertificate(watch: CertificateWatch): void {
    this.#watch = watch;
  }

  /** Says whether it may be asked. A model that is loaded again has another one. */
  get breaker(): CircuitBreaker {
    return this.#breaker;
  }

  /** To be called before it serves. */
  breakBy(breaker: CircuitBreaker): void {
    this.#breaker = breaker;
  }

  /**
   * Scores made-up rows in every size that requests come in, so that the first request finds warm code. A promise where
   * the runtime is asynchronous. Throws or rejects with `inference.warm-up-failed`.
   */
  warmUp(clock?: Clock): void | Promise<void> {
    const values = new Float32Array(this.#batchSize * this.columns);
    const out = newColumnArrays(this.#batchSize);
    if (this.runtime.kind === 'asynchronous') return this.#warmUpLater(values, out);
    try {
      for (const [size, rounds] of this.#warmUpSizes()) {
        let best = Number.POSITIVE_INFINITY;
        for (let round = 0; round < rounds; round++) {
          const began = clock?.monotonic() ?? 0;
          this.runtime.score(values.subarray(0, size * this.columns), size, out);
          this.#decide(size, out);
          best = Math.min(best, (clock?.monotonic() ?? 0) - began);
        }
        this.rowCostMs = best / size;
      }
      this.#model.explain(values.subarray(0, this.columns));
    } catch (error) {
      throw this.#failedWarmUp(error);
    }
  }

  /**
   * Scores rows [from, to) of a checked batch on this thread, and decides them. The runtime is inline. Throws what the
   * model throws; then nothing in those rows of `out` counts.
   */
  score(batch: FeatureBatch, from: number, to: number, confidenceThreshold: number, out: ColumnArrays): void {
    if (from === 0) this.runtime.score(batch.values, to, out);
    else {
      const { columns } = this;
      this.runtime.score(batch.values.subarray(from * columns, to * columns), to - from, {
        probability: out.probability.subarray(from, to),
        kind: out.kind.subarray(from, to),
      });
    }
    this.decide(batch, from, to, confidenceThreshold, out);
  }

  /**
   * From the probabilities and kinds of rows [from, to) in `out` to verdicts and what the certificate says of them; shows
   * the rows to the certificate's watch. Throws where a probability is none: `inference.output-corrupt`, and
   * `inference.model-failed` for a row with missing or infinite values, of which some models know nothing.
   */
  decide(
    batch: FeatureBatch,
    from: number,
    to: number,
    confidenceThreshold: number,
    out: ColumnArrays,
  ): void {
    const { threshold, columns } = this;
    const { probability, verdict, kind, certificate } = out;
    for (let row = from; row < to; row++) {
      const p = probability[row] as number;
      if (!(p >= 0 && p <= 1))
        throw notAProbability(p, batch.values.subarray(row * columns, (row + 1) * columns));
      const isAttack = p >= threshold;
      verdict[row] = isAttack ? ATTACK : BENIGN;
      if (!isAttack) kind[row] = -1;
    }
    // No confidence lies below one half.
    if (confidenceThreshold > 0.5) {
      for (let row = from; row < to; row++) {
        if (confidenceOf(probability[row] as number, threshold) < confidenceThreshold) verdict[row] = ABSTAIN;
      }
    }
    const watch = this.#watch;
    if (watch === undefined) {
      certificate.fill(ABSENT, from, to);
      return;
    }
    const state = CERTIFICATE_STATES.indexOf(watch.stateOf(batch.sourceKind));
    certificate.fill(state, from, to);
    if (state === ACTIVE) {
      for (let row = from; row < to; row++) {
        if (!watch.covers(probability[row] as number)) certificate[row] = UNCOVERED;
      }
    }
    watch.observe(batch, from, to, from === 0 ? probability : probability.subarray(from, to));
  }

  /** Rows [from, to) without a verdict of the model, of which no certificate speaks. */
  abstain(sourceKind: string, from: number, to: number, out: ColumnArrays): void {
    const state = this.#watch?.stateOf(sourceKind) ?? 'absent';
    out.probability.fill(this.threshold, from, to);
    out.verdict.fill(ABSTAIN, from, to);
    out.kind.fill(-1, from, to);
    out.certificate.fill(CERTIFICATE_STATES.indexOf(state === 'active' ? 'uncovered' : state), from, to);
  }

  /**
   * The columns that moved a row, and whether it is like anything in training. Takes some 20 microseconds. A row that the
   * model cannot explain has been decided nevertheless: then nothing is said.
   */
  explain(row: Float32Array): Pick<Score, 'topFeatures' | 'novelty'> {
    try {
      const novelty = noveltyOf(this.#model, row);
      return {
        topFeatures: this.#model.explain(row, TOP_FEATURES),
        ...(novelty !== undefined && { novelty }),
      };
    } catch {
      return {};
    }
  }

  #decide(rows: number, out: ColumnArrays): void {
    for (let row = 0; row < rows; row++) {
      const p = out.probability[row] as number;
      if (!(p >= 0 && p <= 1)) throw notAProbability(p);
    }
  }

  #warmUpSizes(): ReadonlyMap<number, number> {
    const sizes = [1, 16, 256, this.#batchSize].filter((size) => size <= this.#batchSize);
    return new Map(sizes.map((size) => [size, size === 1 ? SINGLE_ROUNDS : WARM_UP_ROUNDS]));
  }

  async #warmUpLater(values: Float32Array, out: ColumnArrays): Promise<void> {
    try {
      for (const [size] of this.#warmUpSizes()) {
        for (let round = 0; round < WARM_UP_ROUNDS; round++) {
          await this.runtime.score(values.subarray(0, size * this.columns), size, out);
          this.#decide(size, out);
        }
      }
    } catch (error) {
      throw this.#failedWarmUp(error);
    }
  }

  #failedWarmUp(cause: unknown): InferenceError {
    const { name, version } = this.info;
    return new InferenceError('inference.warm-up-failed', `${name}@${version} failed its warm-up`, { cause });
  }
}

/** What a score says of a row that is like nothing in training; undefined for every other row. */
function noveltyOf(model: DetectionModel, row: Float32Array): Score['novelty'] {
  const novelty = model.novelty?.(row);
  if (novelty?.isNovel !== true) return undefined;
  const { distance, nearest } = novelty;
  return { says: 'unlike anything in training', distance, ...(nearest !== undefined && { nearest }) };
}

/** What a client may have sent must not take a model out of service. */
function notAProbability(value: number, row?: Float32Array): InferenceError {
  const isWhole = row === undefined || row.every((each) => Number.isFinite(each));
  return new InferenceError(
    isWhole ? 'inference.output-corrupt' : 'inference.model-failed',
    `expected a probability, the model gave ${value}`,
  );
}
