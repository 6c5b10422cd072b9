import { randomBytes } from 'node:crypto';
import type { AggregationProgress } from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import { FIXED_POINT } from '../objective.ts';
import { SUMS_LENGTH } from './answer.ts';
import type { Notice, Question } from './operation.ts';
import type { RunPlan } from './run-plan.ts';
import type { Summation } from './summation.ts';
import type { WireTree } from './wire-tree.ts';

export interface PrivacyOptions {
  /** Deviation of the noise, in units of what one row can change a sum by (L2). */
  readonly noise: number;
  /** Chance with which the bound may fail; below one over the number of rows. */
  readonly delta: number;
}

/** What a model tells of one row at most, to whoever has only the model. */
export interface PrivacySpent {
  readonly mechanism: 'gaussian';
  readonly epsilon: number;
  readonly delta: number;
  readonly rho: number;
  readonly noise: number;
  readonly sums: number;
}

/**
 * Throws `training.config-invalid` for noise whose bound would not hold. Where members join small cells one row can move the
 * borders of many of them, by more than the noise is made for.
 */
export function checkPrivacy({ noise, delta }: PrivacyOptions, minCellRows: number): void {
  const refuse = (why: string): never => {
    throw new TrainingError('training.config-invalid', `privacy: ${why}`);
  };
  if (!(noise > 0 && noise < 2 ** 20)) refuse(`expected noise above 0, got ${noise}`);
  if (!(delta > 0 && delta < 1)) refuse(`expected delta in (0, 1), got ${delta}`);
  if (minCellRows > 1) {
    refuse(
      `noise needs cells as they are, got minCellRows ${minCellRows}: leave it out or set it to 1, and have every member allow 1`,
    );
  }
}

/**
 * Central differential privacy: Gaussian noise on every sum once it is opened, secret and unseeded, so that a run cannot
 * be repeated. Neighbours differ in one row. Accounted as zero-concentrated privacy (Bun and Steinke 2016): a sum costs
 * rho = 1 / (2 noise^2), costs add up, and epsilon = rho + 2 sqrt(rho ln(1 / delta)). The sample of rows is not counted in its
 * favour. Bins come from the coordinator's rows and the coordinator sees sums without noise: neither is covered.
 */
export class PrivacyLedger {
  readonly #options: PrivacyOptions;
  readonly #plan: RunPlan;
  #sums = 0;

  /** `sums`: those that the trees of a run that goes on rest on. */
  constructor(options: PrivacyOptions, plan: RunPlan, sums = 0) {
    this.#options = options;
    this.#plan = plan;
    this.#sums = sums;
  }

  get sums(): number {
    return this.#sums;
  }

  spent(): PrivacySpent {
    const { noise, delta } = this.#options;
    const rho = this.#sums / (2 * noise * noise);
    const epsilon = rho + 2 * Math.sqrt(rho * Math.log(1 / delta));
    return { mechanism: 'gaussian', epsilon, delta, rho, noise, sums: this.#sums };
  }

  /** A row is in one leaf, and there in one cell a column: so many gradient levels, so many hessian levels, and one row. */
  noiseHistograms(sum: Int32Array, features: number): void {
    const { gradientLevels } = this.#plan;
    const change = Math.sqrt(features * 2 * gradientLevels ** 2 + 1);
    const deviation = this.#options.noise * change;
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + Math.round(deviation * gaussian());
    this.#sums++;
  }

  /** Exact sums of leaves: rows, gradient and hessian, each scaled to change by 1. */
  noiseLeaves(sum: Int32Array): void {
    const { maxWeight, outputs } = this.#plan;
    const factor = outputs === 1 ? 1 : outputs / (outputs - 1);
    const deviation = this.#options.noise * Math.sqrt(3);
    for (let at = 0; at < sum.length; at += SUMS_LENGTH) {
      sum[at] = (sum[at] as number) + Math.round(deviation * gaussian());
      addExact(sum, at + 1, Math.round(deviation * maxWeight * FIXED_POINT * gaussian()));
      addExact(sum, at + 3, Math.round(deviation * ((maxWeight * factor) / 4) * FIXED_POINT * gaussian()));
    }
    this.#sums++;
  }

  noiseLabels(sum: Int32Array): void {
    const deviation = this.#options.noise * this.#plan.maxWeight * FIXED_POINT;
    for (let at = 0; at < sum.length; at += 2) addExact(sum, at, Math.round(deviation * gaussian()));
    this.#sums++;
  }
}

/** Sums with noise, between the one who opens them and the one who uses them. */
export class NoisySummation implements Summation {
  readonly #inner: Summation;
  readonly #ledger: PrivacyLedger;
  #features = 0;

  constructor(inner: Summation, ledger: PrivacyLedger) {
    this.#inner = inner;
    this.#ledger = ledger;
  }

  startRound(round: number, trees: readonly WireTree[]): Promise<void> {
    return this.#inner.startRound(round, trees);
  }

  tell(notice: Notice): void {
    this.#inner.tell(notice);
  }

  async ask(question: Question, length: number): Promise<Int32Array | undefined> {
    const sum = await this.#inner.ask(question, length);
    if (sum === undefined) return undefined;
    if (question.kind === 'open-tree') this.#features = question.features.length;
    if (question.kind === 'close-tree') this.#ledger.noiseLeaves(sum);
    else this.#ledger.noiseHistograms(sum, this.#features);
    return sum;
  }

  progress(): AggregationProgress {
    return this.#inner.progress();
  }
}

function addExact(sum: Int32Array, at: number, noise: number): void {
  const high = Math.floor(noise / 2 ** 22);
  sum[at] = (sum[at] as number) + noise - high * 2 ** 22;
  sum[at + 1] = (sum[at + 1] as number) + high;
}

/** Bytes of secret randomness, made many at a time. */
let pool = Buffer.alloc(0);
let used = 0;

/** A number of the normal distribution (Box and Muller 1958), from secret random numbers. */
function gaussian(): number {
  if (used + 16 > pool.length) {
    pool = randomBytes(1 << 16);
    used = 0;
  }
  const u = (pool.readUInt32LE(used) * 2 ** 20 + (pool.readUInt32LE(used + 4) >>> 12) + 1) / 2 ** 52;
  const v = (pool.readUInt32LE(used + 8) * 2 ** 20 + (pool.readUInt32LE(used + 12) >>> 12)) / 2 ** 52;
  used += 16;
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
}
