import type { Clock, Logger, Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import type { OperatingPointName, ScoreBatchBuffers } from '../../models/index.ts';
import type { VerifiedModel } from '../../registry/index.ts';
import type { BatchPool, BatchTerms, PoolSeat } from '../pool/batch-pool.ts';
import type { PoolStats, ThreadPool } from '../pool/thread-pool.ts';
import type { ServedModel } from '../served-model.ts';
import { ModelOffer } from './model-offer.ts';
import {
  encodeRequest,
  REQUEST_HEADER,
  readAnswer,
  scoreSubject,
  writeRequestHeader,
} from './score-frames.ts';
import { WorkerTable } from './worker-table.ts';

export interface RemotePoolOptions {
  readonly clock: Clock;
  /** Of a batch, at most. */
  readonly rows: number;
  /** Whether workers score for this engine; models are offered to them either way. */
  readonly isScoring: boolean;
  /** Scores while no worker is ready for a model. */
  readonly local: ThreadPool | undefined;
  /** Told whenever something may have become free. */
  readonly onFree: () => void;
}

/** How batches for workers ended: `lost` and `refused` count tries, `local` batches that were scored here after them. */
export interface RemoteStats {
  readonly workers: number;
  /** Batches that wait for an answer now. */
  readonly busy: number;
  readonly answered: number;
  readonly lost: number;
  readonly refused: number;
  readonly local: number;
  /** Number of the list of models that the bus has. */
  readonly list: number;
}

/** For each batch that workers score at once, another is on its way. */
const SEATS_A_THREAD = 2;
const MAX_SEATS = 64;
const TRIES = 2;
/**
 * A worker that has not answered after so many times the usual time is taken for lost, within these bounds, or sooner where the
 * deadline leaves less time for others. One that was only slow answers nobody.
 */
const USUAL_TIMES = 25;
const SHORTEST_PATIENCE: Milliseconds = 250;
const PATIENCE: Milliseconds = 1_000;
/** Weight of the newest answer in the usual time. */
const NEWEST = 0.1;
/** There and back, until it was measured. */
const HOP: Milliseconds = 0.5;
const PINGS = 8;

/**
 * The workers on the bus as a pool of batches, and the threads here while there are none. A batch goes to one of the workers that are
 * ready for its model; where that one is lost or refuses, to another, and where that does not help either, it is scored on this
 * thread: no worker's fault is a fault of the model or of a request.
 */
export class RemotePool implements BatchPool {
  readonly offer = new ModelOffer();
  readonly #options: RemotePoolOptions;
  readonly #table: WorkerTable;
  readonly #taken = new Map<ServedModel, number>();
  readonly #seats = new Set<PoolSeat>();
  readonly #free: RemoteSeat[] = [];
  #bus: Bus | undefined;
  #busy = 0;
  #answered = 0;
  #lost = 0;
  #refused = 0;
  #localBatches = 0;
  #hop: Milliseconds = HOP;
  /** From a request to its answer. */
  #usual: Milliseconds = PATIENCE / USUAL_TIMES;

  constructor(options: RemotePoolOptions) {
    this.#options = options;
    this.#table = new WorkerTable(options.clock, () => {
      void this.#measure();
      options.onFree();
    });
  }

  get remote(): RemoteStats {
    return {
      ...{ workers: this.#table.workers, busy: this.#busy, answered: this.#answered, lost: this.#lost },
      ...{ refused: this.#refused, local: this.#localBatches, list: this.offer.number },
    };
  }

  get stats(): PoolStats | undefined {
    return this.#options.local?.stats;
  }

  get hopMs(): Milliseconds {
    return this.#table.workers > 0 ? this.#hop : (this.#options.local?.hopMs ?? this.#hop);
  }

  get width(): number {
    let most = 0;
    if (this.#bus !== undefined) {
      for (const served of this.#models()) most = Math.max(most, this.#threadsFor(served));
    }
    return most > 0 ? most : (this.#options.local?.width ?? 1);
  }

  /** Offers models over this bus, and has workers score where that is configured. The caller closes it, after this. */
  join(bus: Bus, logger: Logger): void {
    this.offer.join(bus, logger);
    if (!this.#options.isScoring) return;
    this.#bus = bus;
    this.#table.join(bus);
  }

  async start(): Promise<void> {
    await this.#options.local?.start();
  }

  async add(
    served: ServedModel,
    verified: VerifiedModel,
    operatingPoint: OperatingPointName | undefined,
  ): Promise<void> {
    this.offer.add(served, verified);
    if (served.runtime.kind === 'inline') await this.#options.local?.add(served, verified, operatingPoint);
  }

  remove(served: ServedModel): void {
    this.offer.remove(served);
    this.#options.local?.remove(served);
  }

  has(served: ServedModel): boolean {
    return this.#threadsFor(served) > 0 || this.#options.local?.has(served) === true;
  }

  isFree(served: ServedModel): boolean {
    const threads = this.#threadsFor(served);
    if (threads === 0) return this.#options.local?.isFree(served) === true;
    return this.#hasSeat(served, threads);
  }

  take(served: ServedModel): PoolSeat | undefined {
    const threads = this.#threadsFor(served);
    if (threads === 0) return this.#options.local?.take(served);
    if (!this.#hasSeat(served, threads)) return undefined;
    const { rows } = this.#options;
    const size = rows * served.columns;
    const at = this.#free.findIndex(({ values }) => values.length >= size);
    const seat = at < 0 ? new RemoteSeat(size, rows) : (this.#free.splice(at, 1)[0] as RemoteSeat);
    seat.served = served;
    this.#seats.add(seat);
    this.#taken.set(served, (this.#taken.get(served) ?? 0) + 1);
    this.#busy++;
    return seat;
  }

  release(seat: PoolSeat): void {
    if (!(seat instanceof RemoteSeat)) {
      this.#options.local?.release(seat as Parameters<ThreadPool['release']>[0]);
      return;
    }
    if (!this.#seats.delete(seat)) return;
    const { served } = seat;
    seat.served = undefined;
    this.#busy--;
    if (this.#free.length < MAX_SEATS) this.#free.push(seat);
    if (served !== undefined) {
      const left = (this.#taken.get(served) ?? 1) - 1;
      if (left === 0) this.#taken.delete(served);
      else this.#taken.set(served, left);
    }
    this.#options.onFree();
  }

  async run(
    seat: PoolSeat,
    served: ServedModel,
    rows: number,
    terms: BatchTerms,
  ): Promise<Milliseconds | undefined> {
    if (!(seat instanceof RemoteSeat)) {
      const thread = seat as Parameters<ThreadPool['run']>[0];
      return await (this.#options.local as ThreadPool).run(thread, served, rows);
    }
    const size = rows * served.columns;
    try {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        const took = await this.#ask(seat, served, rows, terms);
        if (took !== undefined) return took;
      }
      this.#localBatches++;
      // A GPU or a process of its own is asked by other ways; here is a model of this thread.
      const began = this.#options.clock.monotonic();
      await served.runtime.score(seat.values.subarray(0, size), rows, seat.out);
      return this.#options.clock.monotonic() - began;
    } finally {
      seat.values.fill(0, 0, size);
    }
  }

  /** A worker gives up by itself at the deadline that it was told; a thread is ended. */
  end(seat: PoolSeat): void {
    if (seat instanceof RemoteSeat) return;
    this.#options.local?.end(seat as Parameters<ThreadPool['end']>[0]);
  }

  async close(): Promise<void> {
    await Promise.all([this.offer.close(), this.#table.close(), this.#options.local?.close()]);
  }

  /** One try: what it took where a worker scored the batch into `seat.out`. */
  async #ask(
    seat: RemoteSeat,
    served: ServedModel,
    rows: number,
    terms: BatchTerms,
  ): Promise<Milliseconds | undefined> {
    const { clock } = this.#options;
    const object = this.offer.objectOf(served);
    const began = clock.monotonic();
    const left = terms.deadline - began;
    if (this.#bus === undefined || object === undefined || left < 1) return undefined;
    const patience = Math.max(SHORTEST_PATIENCE, Math.min(PATIENCE, USUAL_TIMES * this.#usual));
    // A third: another worker and this thread need their time, too.
    const timeoutMs = Math.max(1, Math.min(patience, left / 3));
    const { columns } = served;
    const frame = seat.frame.subarray(0, REQUEST_HEADER + rows * columns * 4);
    writeRequestHeader(frame, { rows, columns, deadlineMs: timeoutMs, priority: terms.priority });
    try {
      const answer = await this.#bus.request(scoreSubject(object), frame, { timeoutMs });
      const refusal = readAnswer(answer, rows, seat.out);
      if (refusal === undefined && isSound(seat.out, rows, served.kinds.length)) {
        this.#answered++;
        const took = clock.monotonic() - began;
        this.#usual += NEWEST * (took - this.#usual);
        return took;
      }
      this.#refused++;
    } catch {
      this.#lost++;
    }
    return undefined;
  }

  /** The best of some, as for threads. */
  async #measure(): Promise<void> {
    const { clock } = this.#options;
    for (const served of this.#models()) {
      const object = this.offer.objectOf(served);
      if (this.#bus === undefined || object === undefined || this.#threadsFor(served) === 0) continue;
      const ping = encodeRequest({
        ...{ rows: 0, columns: served.columns, deadlineMs: PATIENCE, priority: 'live' as const },
        values: new Float32Array(0),
      });
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < PINGS; i++) {
        const began = clock.monotonic();
        try {
          await this.#bus.request(scoreSubject(object), ping, { timeoutMs: PATIENCE });
        } catch {
          return;
        }
        best = Math.min(best, clock.monotonic() - began);
      }
      if (best > 0) this.#hop = best;
      return;
    }
  }

  *#models(): Generator<ServedModel> {
    yield* this.offer.served();
  }

  #threadsFor(served: ServedModel): number {
    if (this.#bus === undefined || served.runtime.kind !== 'inline') return 0;
    const object = this.offer.objectOf(served);
    return object === undefined ? 0 : this.#table.threadsFor(object);
  }

  #hasSeat(served: ServedModel, threads: number): boolean {
    return this.#busy < MAX_SEATS && (this.#taken.get(served) ?? 0) < threads * SEATS_A_THREAD;
  }
}

/** Its values lie in the frame that carries them: a batch is copied in once. */
class RemoteSeat implements PoolSeat {
  readonly frame: Uint8Array;
  readonly values: Float32Array;
  readonly out: ScoreBatchBuffers;
  served: ServedModel | undefined;

  constructor(values: number, rows: number) {
    this.frame = new Uint8Array(REQUEST_HEADER + values * 4);
    this.values = new Float32Array(this.frame.buffer, REQUEST_HEADER, values);
    this.out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  }
}

/** What a worker whose memory errs might say must not speak against the model. */
function isSound({ probability, kind }: ScoreBatchBuffers, rows: number, kinds: number): boolean {
  for (let row = 0; row < rows; row++) {
    const p = probability[row] as number;
    const k = kind[row] as number;
    if (!(p >= 0 && p <= 1) || k < -1 || k >= kinds) return false;
  }
  return true;
}
