import { setImmediate } from 'node:timers/promises';
import { type Clock, GuardianError, type Milliseconds } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { Score } from '../models/index.ts';
import { type Answer, columnsOf, describeRows } from './answer.ts';
import type { InferenceConfig } from './config.ts';
import { InferenceError, type InferenceErrorCode } from './errors.ts';
import { ATTACK, BENIGN, newColumnArrays, type ScoreColumns } from './score-columns.ts';
import type { ServedModel } from './served-model.ts';
import { EngineCounters, type InferenceStats } from './stats.ts';

export interface ScoreOptions {
  /** Until when an answer is of use, from now; the configured timeout by default. */
  readonly deadlineMs?: Milliseconds;
  readonly signal?: AbortSignal;
  /** Name of the model; may be left out while one name is loaded. */
  readonly model?: string;
  /** Batch work waits, and is given up, before live work; live by default. */
  readonly priority?: Priority;
  /** Where the rows come from, an address or a stream: what a canary sticks to. */
  readonly source?: string;
}

export const PRIORITIES = ['live', 'batch'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What a rule says of one row; undefined where it does not apply. */
export type FallbackRule = (batch: FeatureBatch, row: number) => 'attack' | 'benign' | undefined;

interface Slot {
  readonly current: ServedModel;
  /** The one before, of the same schema: it stays resident for rollback and as last known good. */
  readonly previous?: ServedModel;
}

/**
 * Scores batches with the models in place: bounded, with a deadline, and with a planned answer to failure. It
 * trusts what is put in; `Engine` is the gate before it.
 */
export class Scorer {
  readonly #config: InferenceConfig;
  readonly #clock: Clock;
  readonly #rule: FallbackRule | undefined;
  readonly #slots = new Map<string, Slot>();
  readonly #counters = new EngineCounters();

  constructor(config: InferenceConfig, clock: Clock, rule?: FallbackRule) {
    this.#config = config;
    this.#clock = clock;
    this.#rule = rule;
  }

  get stats(): InferenceStats {
    return this.#counters.snapshot();
  }

  /** One assignment: requests that began before go on with the model they began with. */
  put(model: ServedModel): void {
    const before = this.#slots.get(model.info.name)?.current;
    const isSameSchema = before?.schemaId === model.schemaId;
    before?.watch?.retire();
    this.#slots.set(model.info.name, {
      current: model,
      ...(before !== undefined && isSameSchema && { previous: before }),
    });
    this.#counters.swaps++;
  }

  /** Every model that may be asked, those that stand by included. */
  *served(): Generator<ServedModel> {
    for (const { current, previous } of this.#slots.values()) {
      yield current;
      if (previous !== undefined) yield previous;
    }
  }

  current(name?: string): ServedModel | undefined {
    return this.#slot(name)?.current;
  }

  /** As `Engine.score`. */
  async score(batch: FeatureBatch, options: ScoreOptions = {}): Promise<readonly Score[]> {
    const answer = await this.#request(batch, options);
    const scores: Score[] = [];
    const { batchSize, confidenceThreshold } = this.#config;
    for (let from = 0; from < batch.rows; from += batchSize) {
      if (from > 0) await setImmediate();
      describeRows(
        batch,
        answer,
        { from, to: Math.min(from + batchSize, batch.rows), confidenceThreshold },
        scores,
      );
    }
    return scores;
  }

  /** As `Engine.scoreColumns`. */
  async scoreColumns(batch: FeatureBatch, options: ScoreOptions = {}): Promise<ScoreColumns> {
    return columnsOf(await this.#request(batch, options));
  }

  async #request(batch: FeatureBatch, options: ScoreOptions): Promise<Answer> {
    const started = this.#clock.monotonic();
    const counters = this.#counters;
    counters.requests++;
    if (counters.inFlight >= this.#config.maxConcurrentRequests) {
      throw this.#refuse('inference.overloaded', `${counters.inFlight} requests are being scored`);
    }
    counters.inFlight++;
    try {
      const answer = await this.#scoreAll(batch, options, started);
      const { verdict } = answer.arrays;
      counters.rows += batch.rows;
      for (let row = 0; row < batch.rows; row++) counters.countVerdict(verdict[row] as number);
      counters.answer(this.#clock.monotonic() - started);
      return answer;
    } finally {
      counters.inFlight--;
    }
  }

  async #scoreAll(batch: FeatureBatch, options: ScoreOptions, started: Milliseconds): Promise<Answer> {
    const slot = this.#slot(options.model);
    if (slot === undefined) throw this.#refuse('inference.no-model', this.#describeMissing(options.model));
    const { current } = slot;
    this.#check(batch, current);
    const answer: Answer = { served: current, arrays: newColumnArrays(batch.rows), rows: batch.rows };
    if (!current.sourceKinds.has(batch.sourceKind)) {
      const trained = [...current.sourceKinds].join(', ') || 'none';
      const reason = `the model was not trained on source kind ${batch.sourceKind}, only on: ${trained}`;
      this.#abstain(batch, 0, answer, reason);
      return answer;
    }
    const deadline = started + (options.deadlineMs ?? this.#config.timeoutMs);
    const { batchSize, confidenceThreshold } = this.#config;
    for (let from = 0; from < batch.rows; from += batchSize) {
      if (from > 0) await setImmediate();
      if (options.signal?.aborted) throw this.#refuse('inference.cancelled', 'the request was withdrawn');
      if (this.#clock.monotonic() > deadline) {
        this.#answerLate(batch, from, answer);
        break;
      }
      const to = Math.min(from + batchSize, batch.rows);
      try {
        answer.served.score(batch, from, to, confidenceThreshold, answer.arrays);
      } catch (error) {
        const { previous } = slot;
        const failed = answer.served;
        if (this.#config.fallbackStrategy !== 'last-known-good' || !previous || failed === previous) {
          this.#answerFailed(batch, from, answer, error);
          break;
        }
        // The whole batch is answered by one model: what failed over does not come back half way.
        answer.standIn = `degraded: scored by the last known good ${label(previous)} because ${label(failed)} failed`;
        answer.served = previous;
        from = -batchSize;
      }
    }
    if (answer.standIn !== undefined) this.#counters.degraded += batch.rows;
    // Rows the extractor refused are answered by abstaining, whatever their numbers gave.
    for (const { row, code, column } of batch.rejected) {
      if (row < batch.rows) this.#abstain(batch, row, answer, `${code}: ${column}`, row + 1);
    }
    return answer;
  }

  #answerLate(batch: FeatureBatch, from: number, answer: Answer): void {
    const why = `the deadline passed after ${from} of ${batch.rows} rows`;
    if (this.#config.fallbackStrategy === 'reject') throw this.#refuse('inference.timeout', why);
    this.#fallBack(batch, from, answer, why);
  }

  #answerFailed(batch: FeatureBatch, from: number, answer: Answer, error: unknown): void {
    const code = error instanceof GuardianError ? error.code : 'no code';
    const why = `${label(answer.served)} failed (${code})`;
    if (this.#config.fallbackStrategy === 'reject') throw this.#refuse('inference.model-failed', why, error);
    this.#fallBack(batch, from, answer, why);
  }

  #fallBack(batch: FeatureBatch, from: number, answer: Answer, why: string): void {
    const rule = this.#config.fallbackStrategy === 'rules' ? this.#rule : undefined;
    answer.fallback = why;
    this.#abstain(batch, from, answer, `degraded: ${why}`);
    this.#counters.degraded += batch.rows - from;
    if (rule === undefined) return;
    for (let row = from; row < batch.rows; row++) {
      const verdict = rule(batch, row);
      if (verdict === undefined) continue;
      answer.arrays.verdict[row] = verdict === 'attack' ? ATTACK : BENIGN;
      answer.reasons?.set(row, `degraded: by rule, ${why}`);
    }
  }

  /** Rows from `from` on, up to `to` or to the end, without a verdict of the model. */
  #abstain(batch: FeatureBatch, from: number, answer: Answer, reason: string, to = batch.rows): void {
    answer.served.abstain(batch.sourceKind, from, to, answer.arrays);
    answer.reasons ??= new Map();
    for (let row = from; row < to; row++) answer.reasons.set(row, reason);
  }

  #check(batch: FeatureBatch, model: ServedModel): void {
    if (batch.schemaId !== model.schemaId) {
      throw this.#refuse(
        'inference.schema-mismatch',
        `${label(model)} was built for schema ${model.schemaId}, the batch has ${batch.schemaId}`,
      );
    }
    const { rows, columns, values } = batch;
    if (columns !== model.columns || !Number.isInteger(rows) || rows < 0 || values.length < rows * columns) {
      throw this.#refuse(
        'inference.bad-batch',
        `expected rows of ${model.columns} values, got ${rows} x ${columns} in ${values.length}`,
      );
    }
  }

  #slot(name?: string): Slot | undefined {
    if (name !== undefined) return this.#slots.get(name);
    return this.#slots.size === 1 ? this.#slots.values().next().value : undefined;
  }

  #describeMissing(name?: string): string {
    if (name !== undefined) return `no model named ${JSON.stringify(name)} is loaded`;
    return this.#slots.size === 0
      ? 'no model is loaded'
      : `${this.#slots.size} models are loaded, and the request names none`;
  }

  #refuse(code: InferenceErrorCode, message: string, cause?: unknown): InferenceError {
    this.#counters.refuse(code);
    return new InferenceError(code, message, cause === undefined ? {} : { cause });
  }
}

function label(model: ServedModel): string {
  return `${model.info.name}@${model.info.version}`;
}
