import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { ScoreBatchBuffers } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import {
  CONTROL,
  CONTROL_WORDS,
  ORDERS,
  type PoolWorkerData,
  type SlotBuffers,
  type ThreadAnswer,
  type ThreadOrder,
} from './messages.ts';

export interface PoolThreadOptions {
  /** Code of the thread: this folder's, or a test's. */
  readonly entry: URL;
  /** Of a batch, at most. */
  readonly rows: number;
  /** Called once, when the thread has ended without being asked to. */
  readonly onLost: (thread: PoolThread) => void;
}

/** An order that is under way. */
interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: InferenceError) => void;
}

/** Scoring needs little: a thread that takes more than this is ended, and its process is not. */
const MAX_HEAP_MIB = 512;

/**
 * One worker thread and the memory shared with it: room for one batch. Takes one order at a time, from whoever has
 * taken it. The caller sleeps on nothing: orders go by a word of shared memory (7 us there and back, where two messages take
 * 20), answers come as messages.
 */
export class PoolThread {
  /** Float32Array, row-major, for the batch to come; wiped by the thread once scored. */
  values: Float32Array = new Float32Array(0);
  out: ScoreBatchBuffers = { probability: new Float32Array(0), kind: new Int16Array(0) };
  readonly models = new Set<number>();
  readonly #options: PoolThreadOptions;
  readonly #control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  readonly #worker: Worker;
  readonly #orders: MessagePort;
  #pending: Pending | undefined;
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];
  #isLost = false;

  constructor(options: PoolThreadOptions) {
    this.#options = options;
    const { port1, port2 } = new MessageChannel();
    this.#orders = port1;
    const workerData: PoolWorkerData = {
      control: this.#control.buffer as SharedArrayBuffer,
      orders: port2,
    };
    this.#worker = new Worker(options.entry, {
      workerData,
      transferList: [port2],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
    });
    port1.unref();
    this.#worker.unref();
    this.#worker.on('message', (answer: ThreadAnswer) => this.#answered(answer));
    // What is thrown comes before the exit, which is what counts.
    this.#worker.on('error', () => this.#lost());
    this.#worker.on('exit', () => this.#lost());
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  get isFree(): boolean {
    return !this.#isTaken && !this.#isLost;
  }

  /** Takes it for orders of one's own, until `release`. Whether it was free. */
  tryTake(): boolean {
    if (!this.isFree) return false;
    this.#isTaken = true;
    return true;
  }

  /** The same, in turn with others. Resolves with false where the thread is lost. */
  async take(): Promise<boolean> {
    if (this.tryTake()) return true;
    if (this.#isLost) return false;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return !this.#isLost;
  }

  /** Lets the next one have it. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next();
  }

  /** Scores what lies in `values`; the results are in `out` until the next order. */
  run(model: number, rows: number): Promise<void> {
    this.#control[CONTROL.model] = model;
    this.#control[CONTROL.rows] = rows;
    return this.#order(ORDERS.run);
  }

  ping(): Promise<void> {
    return this.#order(ORDERS.ping);
  }

  /** Gives it a model that it verifies by itself, and room for batches of it. */
  async load(order: Extract<ThreadOrder, { do: 'load' }>, columns: number): Promise<void> {
    if (this.values.length < this.#options.rows * columns) {
      const slot = newSlot(this.#options.rows, columns);
      await this.#tell({ do: 'slot', slot });
      this.values = new Float32Array(slot.values);
      this.out = { probability: new Float32Array(slot.probability), kind: new Int16Array(slot.kind) };
    }
    await this.#tell(order);
    this.models.add(order.model);
  }

  async unload(model: number): Promise<void> {
    this.models.delete(model);
    await this.#tell({ do: 'unload', model });
  }

  /** Ends it, whatever it does. Its order, if there is one, is lost. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    this.#orders.close();
  }

  #tell(order: ThreadOrder): Promise<void> {
    this.#orders.postMessage(order);
    return this.#order(ORDERS.read);
  }

  #order(order: number): Promise<void> {
    if (this.#isLost) return Promise.reject(lost());
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#worker.ref();
      this.#control[CONTROL.order] = order;
      Atomics.add(this.#control, CONTROL.turn, 1);
      Atomics.notify(this.#control, CONTROL.turn);
    });
  }

  #answered({ failed }: ThreadAnswer): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#worker.unref();
    if (failed === undefined) pending?.resolve();
    else
      pending?.reject(
        new InferenceError('inference.model-failed', `the model failed in a thread: ${failed}`),
      );
  }

  #lost(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    // It never came to wipe it.
    this.values.fill(0);
    this.#options.onLost(this);
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(lost());
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function lost(): InferenceError {
  return new InferenceError('inference.worker-lost', 'the thread that scored the batch has ended');
}

function newSlot(rows: number, columns: number): SlotBuffers {
  return {
    rows,
    values: new SharedArrayBuffer(rows * columns * 4),
    probability: new SharedArrayBuffer(rows * 4),
    kind: new SharedArrayBuffer(rows * 2),
  };
}
