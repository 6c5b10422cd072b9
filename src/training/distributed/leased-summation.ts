import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import type { Digest, Milliseconds } from '../../base/index.ts';
import { type Bus, BusError } from '../../bus/index.ts';
import { seal, sha256 } from '../../crypto/index.ts';
import type { AggregationProgress } from '../boosting.ts';
import { TrainingError } from '../errors.ts';
import { addVector } from './answer.ts';
import { decodeMessage, encodeMessage, vectorOf } from './message.ts';
import type { Notice, Operation, Question } from './operation.ts';
import type { Summation } from './summation.ts';
import type { WireTree } from './wire-tree.ts';
import { type Grant, shardContext, type WorkOrder, type WorkPlan, workAnswerSchema } from './work-order.ts';
import { type WorkerRoll, workerSubject } from './worker-roll.ts';

export interface LeasedSummationOptions {
  readonly bus: Bus;
  readonly roll: WorkerRoll;
  readonly plan: WorkPlan;
  readonly shards: number;
  /** The rows of a shard as bytes, wiped here; called when the shard is leased for the first time. */
  readonly rowsOf: (shard: number) => Uint8Array;
  /** Token of the coordinator's lease. */
  readonly epoch: number;
  /** Aborts when the coordinator's lease is lost. */
  readonly lost: AbortSignal;
  /** A worker that takes longer over an answer loses its leases. */
  readonly answerMs: Milliseconds;
  /** How long to wait for a worker where there is none. */
  readonly waitMs: Milliseconds;
}

/** A lease of a shard. */
interface Lease {
  readonly worker: string;
  readonly token: number;
  /** Operations of the log that the holder has done; undefined before it has the rows. */
  done: number | undefined;
}

interface Sealed {
  readonly object: string;
  readonly digest: Digest;
  readonly key: string;
}

/** Answers of one worker that may fail before it is not asked any more. */
const MAX_FAILURES = 3;
/** Tokens of one coordinator. */
const TOKENS = 2 ** 24;

/**
 * Sums over shards that workers hold by lease. A worker that is dead (no responder, no heartbeat), late (`answerMs`) or at
 * fault loses its leases at once; its shards go to those that hold fewest, which bring them to the state of the others
 * and answer in its place. Answers under a lease that was lost are refused by their token. Between two rounds workers
 * that have joined take shards over. Shards are ranges of rows, and sums of whole numbers: none of it changes a bit.
 */
export class LeasedSummation implements Summation {
  readonly #options: LeasedSummationOptions;
  readonly #leases = new Map<number, Lease>();
  readonly #sealed = new Map<number, Promise<Sealed>>();
  readonly #failures = new Map<string, number>();
  readonly #drops = new Map<string, Set<number>>();
  #trees: readonly WireTree[] = [];
  #log: Operation[] = [];
  /** Where in the log the present round begins, and what everyone has done. */
  #roundStart = 0;
  #barrier = 0;
  #token: number;
  readonly #progress = { workers: 0, sums: 0, bytesSent: 0, bytesReceived: 0, lost: 0, late: 0 };

  constructor(options: LeasedSummationOptions) {
    this.#options = options;
    this.#token = options.epoch * TOKENS;
  }

  async startRound(_round: number, trees: readonly WireTree[]): Promise<void> {
    this.#trees = trees;
    this.#log = this.#log.slice(this.#barrier);
    for (const lease of this.#leases.values()) if (lease.done !== undefined) lease.done -= this.#barrier;
    this.#barrier = 0;
    this.#roundStart = this.#log.length;
    this.#rebalance();
  }

  tell(notice: Notice): void {
    this.#log.push(notice);
  }

  async ask(question: Question, length: number): Promise<Int32Array> {
    this.#log.push(question);
    const sum = new Int32Array(length);
    const open = new Set(Array.from({ length: this.#options.shards }, (_, shard) => shard));
    while (open.size > 0) {
      // Where everyone is in this process, leases must be renewed in between.
      await setImmediate();
      this.#expectLease();
      await this.#grant(open);
      const byWorker = Map.groupBy(open, (shard) => (this.#leases.get(shard) as Lease).worker);
      const asked = [...byWorker].map(async ([worker, shards]) => {
        const vector = await this.#order(worker, shards, length);
        if (vector === undefined) return;
        addVector(sum, vector);
        for (const shard of shards) open.delete(shard);
      });
      const outcomes = await Promise.allSettled(asked);
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    }
    this.#barrier = this.#log.length;
    this.#progress.sums++;
    return sum;
  }

  progress(): AggregationProgress {
    return {
      ...this.#progress,
      workers: new Set([...this.#leases.values()].map(({ worker }) => worker)).size,
    };
  }

  /** Lets the workers forget the run, and the bus its rows. */
  async close(): Promise<void> {
    const { bus, plan, epoch } = this.#options;
    const workers = new Set([...this.#leases.values()].map(({ worker }) => worker));
    const order = encodeMessage({ ...this.#head(), epoch, end: true } satisfies WorkOrder);
    await Promise.all(
      [...workers].map((id) => bus.request(workerSubject(id), order, { timeoutMs: 2_000 }).catch(() => {})),
    );
    for (const sealed of this.#sealed.values()) {
      const { object } = await sealed.catch(() => ({ object: `train.${plan.run}.none` }));
      await bus.deleteObject(object).catch(() => {});
    }
  }

  /** Gives every shard a holder. */
  async #grant(shards: Iterable<number>): Promise<void> {
    const { waitMs } = this.#options;
    const free = [...shards].filter((shard) => !this.#leases.has(shard));
    if (free.length === 0) return;
    const until = performance.now() + waitMs;
    while (this.#candidates().length === 0) {
      if (performance.now() > until) {
        throw new TrainingError('training.workers-missing', `no worker answered within ${waitMs} ms`);
      }
      this.#expectLease();
      await wait(20);
    }
    for (const shard of free) this.#lease(shard, this.#fewest() as string);
  }

  #lease(shard: number, worker: string): void {
    this.#drops.get(worker)?.delete(shard);
    this.#leases.set(shard, { worker, token: ++this.#token, done: undefined });
  }

  #candidates(): string[] {
    return this.#options.roll.alive().filter((id) => (this.#failures.get(id) ?? 0) < MAX_FAILURES);
  }

  #load(): Map<string, number> {
    const load = new Map(this.#candidates().map((id) => [id, 0]));
    for (const { worker } of this.#leases.values()) {
      if (load.has(worker)) load.set(worker, (load.get(worker) as number) + 1);
    }
    return load;
  }

  #fewest(): string | undefined {
    return [...this.#load()].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1))[0]?.[0];
  }

  /** Moves shards to workers that hold two fewer than the one they are taken from. */
  #rebalance(): void {
    for (;;) {
      const load = [...this.#load()].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
      const [least, most] = [load[0], load.at(-1)];
      if (least === undefined || most === undefined || most[1] - least[1] < 2) return;
      const shard = [...this.#leases].find(([, { worker }]) => worker === most[0])?.[0] as number;
      this.#drops.set(most[0], (this.#drops.get(most[0]) ?? new Set()).add(shard));
      this.#lease(shard, least[0]);
    }
  }

  /** The sum over a worker's shards, or undefined where it lost them. */
  async #order(worker: string, shards: readonly number[], length: number): Promise<Int32Array | undefined> {
    const { bus, roll, plan, answerMs, lost } = this.#options;
    const drop = [...(this.#drops.get(worker) ?? [])];
    const grants: Grant[] = [];
    let begins = false;
    for (const shard of shards) {
      const { token, done } = this.#leases.get(shard) as Lease;
      const operations = this.#log.slice(done ?? this.#roundStart);
      begins ||= done === undefined;
      grants.push({
        shard,
        token,
        operations,
        ...(done === undefined && { rows: await this.#publish(shard) }),
      });
    }
    const order: WorkOrder = {
      ...this.#head(),
      ...(begins && { plan, trees: [...this.#trees] }),
      grants,
      drop,
    };
    const bytes = encodeMessage(order);
    this.#progress.bytesSent += bytes.length;
    const done = new AbortController();
    let isLate = false;
    const answered = bus.request(workerSubject(worker), bytes, { timeoutMs: answerMs });
    answered.then(
      () => {
        if (isLate) this.#progress.late++;
      },
      () => {},
    );
    try {
      const died = roll.outlives(worker, AbortSignal.any([done.signal, lost])).then((isAlive) => {
        if (!isAlive) throw new TrainingError('training.lease-lost', `${worker} shows no heartbeat`);
        return new Promise<never>(() => {});
      });
      died.catch(() => {});
      const answer = await Promise.race([answered, died]);
      const { head, body } = decodeMessage(answer, workAnswerSchema);
      this.#expectTokens(worker, head.tokens, shards);
      const vector = vectorOf(body, length);
      this.#progress.bytesReceived += answer.length;
      this.#drops.delete(worker);
      for (const shard of shards) (this.#leases.get(shard) as Lease).done = this.#log.length;
      return vector;
    } catch (error) {
      isLate = true;
      this.#expectLease();
      if (!(error instanceof BusError || error instanceof TrainingError)) throw error;
      if (error.code === 'bus.closed') throw error;
      this.#lose(worker, error);
      return undefined;
    } finally {
      done.abort();
    }
  }

  /** An answer counts only under the leases that are in force. */
  #expectTokens(
    worker: string,
    tokens: readonly (readonly [number, number])[],
    shards: readonly number[],
  ): void {
    const said = new Map(tokens);
    for (const shard of shards) {
      const lease = this.#leases.get(shard);
      if (lease?.worker === worker && said.get(shard) === lease.token && said.size === shards.length)
        continue;
      this.#progress.late++;
      throw new TrainingError(
        'training.lease-lost',
        `${worker} answered for shard ${shard} under another lease`,
      );
    }
  }

  #lose(worker: string, error: BusError | TrainingError): void {
    this.#progress.lost++;
    if (['bus.no-responder', 'bus.timeout'].includes(error.code) || error instanceof TrainingError) {
      this.#options.roll.lose(worker);
    }
    this.#failures.set(worker, (this.#failures.get(worker) ?? 0) + 1);
    for (const [shard, lease] of this.#leases) if (lease.worker === worker) this.#leases.delete(shard);
  }

  #publish(shard: number): Promise<Sealed> {
    const { bus, plan, epoch, rowsOf } = this.#options;
    const known = this.#sealed.get(shard);
    if (known !== undefined) return known;
    const publish = async (): Promise<Sealed> => {
      const rows = rowsOf(shard);
      const digest = sha256(rows);
      const { blob, dataKey } = seal(rows, shardContext(plan.run, shard, digest));
      rows.fill(0);
      const object = `train.${plan.run}.e${epoch}.shard-${shard}`;
      await bus.putObject(object, blob);
      this.#progress.bytesSent += blob.length;
      const key = dataKey.use((bytes) => Buffer.from(bytes).toString('base64'));
      dataKey.wipe();
      return { object, digest, key };
    };
    const made = publish();
    this.#sealed.set(shard, made);
    return made;
  }

  #head(): WorkOrder {
    const { plan, epoch } = this.#options;
    return { v: 1, run: plan.run, epoch, grants: [], drop: [], end: false };
  }

  #expectLease(): void {
    if (this.#options.lost.aborted) {
      throw new TrainingError(
        'training.lease-lost',
        `another coordinator has taken run ${this.#options.plan.run}`,
      );
    }
  }
}
