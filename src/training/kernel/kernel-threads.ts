import { Worker } from 'node:worker_threads';
import { instantiateKernel, type KernelMemory, loadKernel } from '../../base/index.ts';
import {
  runTask,
  TASK_WORDS,
  type TaskConstants,
  type TaskViews,
  type ThreadScratch,
  type TrainingKernel,
  writeTask,
} from './training-kernel.ts';

/** Tasks of one phase at most. */
export const MAX_TASKS = 4096;

/** Words of the control block, at its address. */
export const CONTROL = { generation: 0, next: 1, count: 2, done: 3, stop: 4 } as const;
export const CONTROL_BYTES = 64;

/** Low bits of `next`: the number of the next task. A phase that is being written is closed: no task has its number. */
const CLOSED = 0x8000;

export interface KernelThreadsOptions {
  readonly memory: KernelMemory<SharedArrayBuffer>;
  /** Address of CONTROL_BYTES, zero. */
  readonly control: number;
  /** Address of MAX_TASKS tasks. */
  readonly tasks: number;
  /** One a thread; the first is the caller's. */
  readonly scratch: readonly ThreadScratch[];
  readonly constants: TaskConstants;
}

/** What a worker is started with. */
export interface KernelWorkerData {
  readonly options: KernelThreadsOptions;
  readonly thread: number;
}

/**
 * Runs phases of tasks on the calling thread and on workers over one memory. Tasks of a phase are taken in turn by
 * whoever is free; none may write what another one reads. The caller's thread is held until the phase is done.
 */
export class KernelThreads {
  readonly kernel: TrainingKernel;
  readonly views: TaskViews;
  readonly #options: KernelThreadsOptions;
  readonly #control: Int32Array;
  readonly #workers: Worker[] = [];
  #count = 0;
  #generation = 0;

  constructor(options: KernelThreadsOptions) {
    this.#options = options;
    const { buffer } = options.memory;
    this.kernel = instantiateKernel<TrainingKernel>(loadKernel('boost'), options.memory);
    this.views = { words: new Int32Array(buffer), floats: new Float64Array(buffer) };
    this.#control = new Int32Array(buffer, options.control, CONTROL_BYTES / 4);
    for (let thread = 1; thread < options.scratch.length; thread++) {
      const workerData: KernelWorkerData = { options, thread };
      const worker = new Worker(new URL('./kernel-worker.ts', import.meta.url), { workerData });
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Adds a task to the phase and gives the word it begins at. */
  add(values: readonly number[], ...floats: readonly number[]): number {
    if (this.#count === MAX_TASKS) throw new RangeError(`more than ${MAX_TASKS} tasks`);
    const at = (this.#options.tasks >> 2) + this.#count++ * TASK_WORDS;
    writeTask(this.views, at, values, ...floats);
    return at;
  }

  /** Runs what was added since the last call. */
  run(): void {
    const count = this.#count;
    this.#count = 0;
    if (count === 0) return;
    const [scratch] = this.#options.scratch as [ThreadScratch];
    const first = this.#options.tasks >> 2;
    if (this.#workers.length === 0 || count === 1) {
      for (let i = 0; i < count; i++) {
        runTask(this.kernel, this.views, first + i * TASK_WORDS, scratch, this.#options.constants);
      }
      return;
    }
    const control = this.#control;
    this.#generation = (this.#generation + 1) & 0x7fff;
    Atomics.store(control, CONTROL.next, (this.#generation << 16) | CLOSED);
    Atomics.store(control, CONTROL.count, count);
    Atomics.store(control, CONTROL.done, 0);
    Atomics.store(control, CONTROL.next, this.#generation << 16);
    Atomics.add(control, CONTROL.generation, 1);
    Atomics.notify(control, CONTROL.generation);
    takeTasks(this.kernel, this.views, control, first, scratch, this.#options.constants);
    for (let spins = 0; ; spins++) {
      const done = Atomics.load(control, CONTROL.done);
      if (done === count) return;
      if (spins > SPINS) Atomics.wait(control, CONTROL.done, done);
    }
  }

  /** Ends the workers. */
  async close(): Promise<void> {
    Atomics.store(this.#control, CONTROL.stop, 1);
    Atomics.add(this.#control, CONTROL.generation, 1);
    Atomics.notify(this.#control, CONTROL.generation);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** Looks before it sleeps: a phase takes tens of microseconds up, to be woken takes as long. */
export const SPINS = 2000;

/** Takes tasks until the open phase has none left. */
export function takeTasks(
  kernel: TrainingKernel,
  views: TaskViews,
  control: Int32Array,
  first: number,
  scratch: ThreadScratch,
  constants: TaskConstants,
): void {
  for (;;) {
    const ticket = Atomics.add(control, CONTROL.next, 1);
    const count = Atomics.load(control, CONTROL.count);
    const task = ticket & 0xffff;
    // A ticket drawn late belongs to a phase that is over: the count may be another phase's.
    if (task >= count || Atomics.load(control, CONTROL.next) >> 16 !== ticket >> 16) return;
    runTask(kernel, views, first + task * TASK_WORDS, scratch, constants);
    if (Atomics.add(control, CONTROL.done, 1) + 1 === count) Atomics.notify(control, CONTROL.done);
  }
}
