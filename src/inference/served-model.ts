import type { Digest } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { DetectionModel, OperatingPointName, Score } from '../models/index.ts';
import type { CertificateWatch } from './certificate-watch.ts';
import { InferenceError } from './errors.ts';

/** What scoring needs of a verified model. Only `Engine.load` makes one of these from outside. */
export interface ModelToServe {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  /** As the signed manifest says; the model's own list must agree. */
  readonly sourceKinds: readonly string[];
  readonly model: DetectionModel;
}

/** Rows of attacks that are explained in one part of a batch: a flood must not pay for each of its flows. */
export const EXPLAINED_ROWS = 32;
const TOP_FEATURES = 5;
const WARM_UP_ROUNDS = 3;

/**
 * How far a probability lies from the threshold, as a confidence in [0.5, 1]: each side of the threshold is
 * stretched linearly onto half of the unit interval, q = p / 2t below it and 1 - (1 - p) / 2(1 - t) above,
 * and the confidence is max(q, 1 - q). At a threshold of 0.5 this is max(p, 1 - p).
 */
export function confidenceOf(probability: number, threshold: number): number {
  if (probability < threshold) return 1 - probability / (2 * threshold);
  return threshold >= 1 ? 1 : 1 - (1 - probability) / (2 * (1 - threshold));
}

/** One model in place, with buffers for the largest part of a batch. Scoring is synchronous. */
export class ServedModel {
  readonly info: Score['model'];
  readonly schemaId: Digest;
  readonly sourceKinds: ReadonlySet<string>;
  readonly columns: number;
  readonly #model: DetectionModel;
  readonly #batchSize: number;
  readonly #probability: Float32Array;
  readonly #kind: Int16Array;
  #watch: CertificateWatch | undefined;

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
    this.#model = model;
    this.#batchSize = batchSize;
    this.#probability = new Float32Array(batchSize);
    this.#kind = new Int16Array(batchSize);
  }

  /** By which it decides. */
  get threshold(): number {
    return this.#model.threshold;
  }

  /** Of its certificate; absent where it has none. */
  get watch(): CertificateWatch | undefined {
    return this.#watch;
  }

  /** To be called before it serves; what is decided before that has no certificate. */
  watchCertificate(watch: CertificateWatch): void {
    this.#watch = watch;
  }

  /** Scores made-up rows, one at a time and in full batches, so that the first request finds warm code. */
  warmUp(): void {
    const rows = this.#batchSize;
    const values = new Float32Array(rows * this.columns);
    try {
      for (const size of new Set([1, rows])) {
        for (let round = 0; round < WARM_UP_ROUNDS; round++) {
          this.#scoreInto(values.subarray(0, size * this.columns), size);
          for (let i = 0; i < size; i++) {
            const p = this.#probability[i] as number;
            if (!(p >= 0 && p <= 1)) throw notAProbability(p);
          }
        }
      }
      this.#model.explain(values.subarray(0, this.columns));
    } catch (error) {
      const { name, version } = this.info;
      throw new InferenceError('inference.warm-up-failed', `${name}@${version} failed its warm-up`, {
        cause: error,
      });
    }
  }

  /**
   * Scores rows [from, to) of the batch, at most the batch size, and appends one score a row to `out`. The
   * batch has been checked. Throws what the model throws; then nothing was appended.
   */
  score(batch: FeatureBatch, from: number, to: number, confidenceThreshold: number, out: Score[]): void {
    const { columns } = this;
    const values = batch.values.subarray(from * columns, to * columns);
    const rows = to - from;
    this.#scoreInto(values, rows);
    const { kinds, threshold } = this.#model;
    const watch = this.#watch;
    const state = watch?.stateOf(batch.sourceKind) ?? 'absent';
    const scores: Score[] = [];
    let explained = 0;
    for (let i = 0; i < rows; i++) {
      const probability = this.#probability[i] as number;
      if (!(probability >= 0 && probability <= 1)) throw notAProbability(probability);
      const isAttack = probability >= threshold;
      const confidence = confidenceOf(probability, threshold);
      const isSure = confidence >= confidenceThreshold;
      const kind = isAttack ? kinds[this.#kind[i] as number] : undefined;
      const isExplained = isAttack && explained++ < EXPLAINED_ROWS;
      const row = values.subarray(i * columns, (i + 1) * columns);
      const top = isExplained ? this.#model.explain(row, TOP_FEATURES) : undefined;
      const novelty = isExplained ? noveltyOf(this.#model, row) : undefined;
      scores.push({
        probability,
        verdict: isSure ? (isAttack ? 'attack' : 'benign') : 'abstain',
        ...(kind !== undefined && { kind }),
        confidence,
        ...(!isSure && { reason: `confidence ${confidence.toFixed(3)} is below ${confidenceThreshold}` }),
        model: this.info,
        certificate: state === 'active' && watch?.covers(probability) !== true ? 'uncovered' : state,
        ...(top !== undefined && { topFeatures: top }),
        ...(novelty !== undefined && { novelty }),
      });
    }
    watch?.observe(batch, from, to, this.#probability);
    for (const score of scores) out.push(score);
  }

  /** An answer without a verdict, of which no certificate speaks. */
  abstain(reason: string, sourceKind: string): Score {
    const state = this.#watch?.stateOf(sourceKind) ?? 'absent';
    return {
      probability: this.#model.threshold,
      verdict: 'abstain',
      confidence: 0.5,
      reason,
      model: this.info,
      certificate: state === 'active' ? 'uncovered' : state,
    };
  }

  #scoreInto(values: Float32Array, rows: number): void {
    this.#model.score(values, rows, { probability: this.#probability, kind: this.#kind });
  }
}

/** What a score says of a row that is like nothing in training; undefined for every other row. */
function noveltyOf(model: DetectionModel, row: Float32Array): Score['novelty'] {
  const novelty = model.novelty?.(row);
  if (novelty?.isNovel !== true) return undefined;
  const { distance, nearest } = novelty;
  return { says: 'unlike anything in training', distance, ...(nearest !== undefined && { nearest }) };
}

function notAProbability(value: number): InferenceError {
  return new InferenceError('inference.model-failed', `expected a probability, the model gave ${value}`);
}
