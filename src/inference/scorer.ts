import { setImmediate } from 'node:timers/promises';
import { type Clock, GuardianError, type Milliseconds } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { Score } from '../models/index.ts';
import type { Priority } from './admission/refusal.ts';
import { type Answer, columnsOf, describeRows } from './answer.ts';
import type { Outcome } from './batching/sliced-request.ts';
import type { InferenceConfig } from './config.ts';
import { InferenceError, type InferenceErrorCode, type InferenceErrorOptions } from './errors.ts';
import type { ExecutionReport } from './executions.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import { ATTACK, BENIGN, newColumnArrays, type ScoreColumns } from './score-columns.ts';
import type { ServedModel } from './served-model.ts';
import { breakerCauseOf } from './service/breaker-cause.ts';
import { type BreakerCause, REFUSED } from './service/circuit-breaker.ts';
import type { ModelService } from './service/model-service.ts';
import { RequestWaves } from './service/request-waves.ts';
import type { Rollout } from './service/rollout.ts';
import { EngineCounters, type InferenceHistograms, type InferenceStats } from './stats.ts';

export interface ScoreOptions {
  /** Until when an answer is of use, from now; the configured timeout by default. */
  readonly deadlineMs?: Milliseconds;
  readonly signal?: AbortSignal;
  /** Name of the model; may be left out while one name is loaded. */
  readonly model?: string;
  /** A version of it that is at hand, whichever is in place; no rollout has a say then. */
  readonly version?: string;
  /** Batch work waits, and is given up, before live work; live by default. */
  readonly priority?: Priority;
  /** Where the rows come from, an address or a stream: what a canary sticks to. */
  readonly source?: string;
}

/** What a rule says of one row; undefined where it does not apply. */
export type FallbackRule = (batch: FeatureBatch, row: number) => 'attack' | 'benign' | undefined;

interface Slot {
  readonly current: ServedModel;
  /** The one before, of the same schema: it stays resident for rollback and as last known good. */
  readonly previous?: ServedModel;
}

/** One request on its way through the models. */
interface Call {
  readonly batch: FeatureBatch;
  readonly options: ScoreOptions;
  readonly slot: Slot;
  readonly answer: Answer;
  readonly deadline: Milliseconds;
  readonly rollout: Rollout | undefined;
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
  /** Says when what was taken out of service is out of reach. */
  readonly waves = new RequestWaves();
  readonly #models: Pick<ModelService, 'rollouts' | 'find'> | undefined;
  /** Where and when rows are scored. */
  readonly scheduler: Scheduler;

  constructor(
    config: InferenceConfig,
    clock: Clock,
    rule?: FallbackRule,
    models?: Pick<ModelService, 'rollouts' | 'find'>,
    scheduling: Omit<SchedulerOptions, 'config' | 'clock' | 'onBatch'> = {},
  ) {
    this.#config = config;
    this.#clock = clock;
    this.#rule = rule;
    this.#models = models;
    const onBatch = (served: ServedModel, rows: number, took: Milliseconds) =>
      this.#counters.batch(served, rows, took);
    this.scheduler = new Scheduler({ config, clock, onBatch, ...scheduling });
  }

  get stats(): InferenceStats {
    return { ...this.#counters.snapshot(), scheduler: this.scheduler.stats };
  }

  /** Batches that a version computed since the start. */
  executions(name: string, version: string): ExecutionReport {
    return this.#counters.executions.read(name, version);
  }

  get histograms(): InferenceHistograms {
    return this.#counters.histograms();
  }

  /** One assignment: requests that began before go on with the model they began with. */
  put(model: ServedModel): void {
    const slot = this.#slots.get(model.info.name);
    slot?.current.watch?.retire();
    const previous = this.previousBehind(model);
    this.#slots.set(model.info.name, { current: model, ...(previous !== undefined && { previous }) });
    this.#counters.swaps++;
  }

  /** What would stand by behind a model put in place: the one before, and never the same one twice. */
  previousBehind({ info, schemaId }: ServedModel): ServedModel | undefined {
    const slot = this.#slots.get(info.name);
    const isItself = slot?.current.info.version === info.version && slot.current.info.digest === info.digest;
    const before = isItself ? slot.previous : slot?.current;
    return before?.schemaId === schemaId ? before : undefined;
  }

  /** Takes a name out; requests that began before go on with their model. Whether it was there. */
  remove(name: string): boolean {
    this.#slots.get(name)?.current.watch?.retire();
    this.#counters.forget(name);
    return this.#slots.delete(name);
  }

  /** A version that stands by does so no longer. */
  forgetPrevious(name: string, version: string): void {
    const slot = this.#slots.get(name);
    if (slot?.previous?.info.version === version) this.#slots.set(name, { current: slot.current });
  }

  /** Every model that may be asked, those that stand by included. */
  *served(): Generator<ServedModel> {
    for (const { current, previous } of this.#slots.values()) {
      yield current;
      if (previous !== undefined) yield previous;
    }
  }

  names(): readonly string[] {
    return [...this.#slots.keys()].sort();
  }

  current(name?: string): ServedModel | undefined {
    return this.#slot(name)?.current;
  }

  /** What is in place under a name, and what stands by behind it. */
  slotOf(name: string): Slot | undefined {
    return this.#slots.get(name);
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
    counters.inFlight++;
    const wave = this.waves.enter();
    try {
      const answer = await this.#scoreAll(batch, options, started);
      const { verdict } = answer.arrays;
      for (let row = 0; row < batch.rows; row++) counters.countVerdict(verdict[row] as number);
      counters.answer(answer.served.info.name, batch.rows, this.#clock.monotonic() - started);
      return answer;
    } finally {
      this.waves.leave(wave);
      counters.inFlight--;
    }
  }

  async #scoreAll(batch: FeatureBatch, options: ScoreOptions, started: Milliseconds): Promise<Answer> {
    const slot = this.#slot(options.model, options.version);
    if (slot === undefined) throw this.#refuse('inference.no-model', this.#describeMissing(options.model));
    const { current } = slot;
    this.#check(batch, current);
    const running = this.#models?.rollouts.get(current.info.name);
    const rollout = options.version === undefined ? running : undefined;
    const isCandidates = rollout?.decides(options.source) === true;
    const answer: Answer = {
      served: isCandidates ? rollout.candidate : current,
      arrays: newColumnArrays(batch.rows),
      rows: batch.rows,
    };
    if (!current.sourceKinds.has(batch.sourceKind)) {
      const trained = [...current.sourceKinds].join(', ') || 'none';
      const reason = `the model was not trained on source kind ${batch.sourceKind}, only on: ${trained}`;
      this.#abstain(batch, 0, answer, reason);
      return answer;
    }
    const deadline = started + (options.deadlineMs ?? this.#config.timeoutMs);
    await this.#scoreRows({ batch, options, slot, answer, deadline, rollout });
    if (answer.standIn !== undefined) this.#counters.degraded += batch.rows;
    // Rows the extractor refused are answered by abstaining, whatever their numbers gave.
    for (const { row, code, column } of batch.rejected) {
      if (row < batch.rows) this.#abstain(batch, row, answer, `${code}: ${column}`, row + 1);
    }
    return answer;
  }

  async #scoreRows(call: Call): Promise<void> {
    const { batch, answer, rollout } = call;
    const { timeoutMs } = this.#config;
    for (;;) {
      const ticket = this.#admit(call);
      if (ticket === REFUSED) return this.#answerUnasked(batch, 0, answer);
      const { served } = answer;
      const isHere = this.#isInline(call);
      const { state, scored, spent, waited, error } = isHere
        ? this.#scoreHere(call)
        : await this.#schedule(call, ticket);
      if (state === 'withdrawn') {
        served.breaker.release(ticket);
        throw this.#refuse('inference.cancelled', 'the request was withdrawn');
      }
      if (state === 'late') {
        // Only the model's own time speaks against it, and not how little of it a caller gave.
        if (spent >= timeoutMs) this.#failed(call, ticket, 'timeout');
        else served.breaker.release(ticket);
        return this.#answerLate(batch, scored, answer);
      }
      if (state === 'failed') {
        this.#failed(call, ticket, breakerCauseOf(error));
        const code = error instanceof GuardianError ? error.code : 'no code';
        if (this.#failOver(call, `failed (${code})`)) continue;
        return this.#answerFailed(batch, scored, answer, error);
      }
      this.#counters.scored(waited, spent);
      answer.waitedMs = waited;
      if (spent >= timeoutMs) this.#failed(call, ticket, 'timeout');
      else served.breaker.succeed(ticket, this.#clock.monotonic());
      if (rollout === undefined) return;
      const { probability, verdict } = answer.arrays;
      const seen = { rows: batch.rows, values: batch.values, probability, verdict };
      return rollout.answered(served, seen, spent);
    }
  }

  #isInline({ batch, options, answer }: Call): boolean {
    return this.scheduler.isInline(answer.served, batch.rows, options.priority ?? 'live');
  }

  /** At once, on this thread. */
  #scoreHere({ batch, options, answer, deadline }: Call): Outcome {
    if (options.signal?.aborted) return { state: 'withdrawn', scored: 0, spent: 0, waited: 0 };
    const began = this.#clock.monotonic();
    if (began > deadline) return { state: 'late', scored: 0, spent: 0, waited: 0 };
    const { rows } = batch;
    if (rows === 0) return { state: 'done', scored: 0, spent: 0, waited: 0 };
    try {
      answer.served.score(batch, 0, rows, this.#config.confidenceThreshold, answer.arrays);
    } catch (error) {
      return { state: 'failed', scored: 0, spent: this.#clock.monotonic() - began, waited: 0, error };
    }
    const spent = this.#clock.monotonic() - began;
    this.#counters.batch(answer.served, rows, spent);
    return { state: 'done', scored: rows, spent, waited: 0 };
  }

  /** By way of the queue. Throws `inference.overloaded` where there is no room. */
  async #schedule({ batch, options, answer, deadline }: Call, ticket: number): Promise<Outcome> {
    const { served, arrays: out } = answer;
    const { signal, priority = 'live' } = options;
    const { confidenceThreshold } = this.#config;
    const ended = await this.scheduler.score({
      ...{ served, batch, out, deadline, priority, signal, confidenceThreshold },
    });
    if ('state' in ended) return ended;
    served.breaker.release(ticket);
    const { reason: refusal, retryAfterMs } = ended;
    this.#counters.shed(refusal);
    const says = `no room for ${batch.rows} rows (${refusal})`;
    throw this.#refuse('inference.overloaded', says, { refusal, retryAfterMs });
  }

  /** A ticket of the first model that may be asked: the one chosen, or else what stands in for it. */
  #admit(call: Call): number {
    const { answer } = call;
    for (;;) {
      const { breaker } = answer.served;
      const ticket = breaker.admit(this.#clock.monotonic());
      if (ticket !== REFUSED) return ticket;
      if (!this.#failOver(call, `is not asked (${breaker.cause})`)) return REFUSED;
    }
  }

  #failed({ answer, rollout }: Call, ticket: number, cause: BreakerCause): void {
    rollout?.failed(answer.served, cause);
    answer.served.breaker.fail(ticket, cause, this.#clock.monotonic());
  }

  /** The whole batch is answered by one model: what failed over does not come back half way. */
  #failOver({ slot, answer }: Call, why: string): boolean {
    const { current, previous } = slot;
    const failed = answer.served;
    if (failed !== current && failed !== previous) {
      // A candidate that errs costs nobody an answer: the champion is no fallback.
      answer.served = current;
      return true;
    }
    const mayStandIn = this.#config.fallbackStrategy === 'last-known-good' && failed === current;
    if (!mayStandIn || previous === undefined) return false;
    answer.standIn = `degraded: scored by the last known good ${label(previous)} because ${label(failed)} ${why}`;
    answer.served = previous;
    return true;
  }

  /** No model may be asked. */
  #answerUnasked(batch: FeatureBatch, from: number, answer: Answer): void {
    const { breaker } = answer.served;
    const why = `${label(answer.served)} is not asked (${breaker.cause})`;
    if (this.#config.fallbackStrategy === 'reject') {
      const retryAfterMs = breaker.retryAfterMs(this.#clock.monotonic());
      throw this.#refuse('inference.breaker-open', why, { retryAfterMs });
    }
    delete answer.standIn;
    this.#fallBack(batch, from, answer, why);
  }

  #answerLate(batch: FeatureBatch, from: number, answer: Answer): void {
    const why = `the deadline passed after ${from} of ${batch.rows} rows`;
    if (this.#config.fallbackStrategy === 'reject') throw this.#refuse('inference.timeout', why);
    this.#fallBack(batch, from, answer, why);
  }

  #answerFailed(batch: FeatureBatch, from: number, answer: Answer, error: unknown): void {
    const code = error instanceof GuardianError ? error.code : 'no code';
    const why = `${label(answer.served)} failed (${code})`;
    if (this.#config.fallbackStrategy === 'reject')
      throw this.#refuse('inference.model-failed', why, { cause: error });
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

  #slot(name?: string, version?: string): Slot | undefined {
    const only = this.#slots.size === 1 ? this.#slots.values().next().value : undefined;
    const slot = name === undefined ? only : this.#slots.get(name);
    if (version === undefined || slot?.current.info.version === version) return slot;
    const asked = name ?? slot?.current.info.name;
    const held = asked === undefined ? undefined : this.#models?.find(asked, version);
    return held && { current: held };
  }

  #describeMissing(name?: string): string {
    if (name !== undefined) return `no model named ${JSON.stringify(name)} is loaded`;
    return this.#slots.size === 0
      ? 'no model is loaded'
      : `${this.#slots.size} models are loaded, and the request names none`;
  }

  #refuse(code: InferenceErrorCode, message: string, options?: InferenceErrorOptions): InferenceError {
    this.#counters.refuse(code);
    return new InferenceError(code, message, options);
  }
}

function label(model: ServedModel): string {
  return `${model.info.name}@${model.info.version}`;
}
