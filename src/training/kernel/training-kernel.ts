/** The functions of `kernels/boost.ts`; addresses are bytes. */
export interface TrainingKernel {
  binaryGradients(...values: number[]): void;
  softmaxGradients(...values: number[]): void;
  listRows(packed: number, from: number, to: number, entries: number): number;
  histogram(...values: number[]): void;
  rootHistogram(...values: number[]): void;
  subtract(a: number, b: number, entries: number): void;
  add(a: number, b: number, entries: number): void;
  partition(entries: number, count: number, column: number, table: number, right: number): number;
  leafSums(entries: number, count: number, gradients: number, hessians: number, out: number): void;
  levelSums(entries: number, count: number, out: number): void;
  addLeaf(entries: number, count: number, margins: number, value: number): void;
}

/** Kinds of task. The words of a task: its kind, then the arguments in the order of `runTask`. */
export const TASK = {
  binaryGradients: 1,
  softmaxGradients: 2,
  partition: 3,
  histogram: 4,
  leafSums: 5,
  addLeaf: 6,
  listRows: 7,
  rootHistogram: 8,
  levelSums: 9,
} as const;

/** 32-bit words of a task; the last eight are four f64. */
export const TASK_WORDS = 32;
const FLOATS_AT = 24;

/** Scratch of one thread, as addresses. */
export interface ThreadScratch {
  readonly acc: number;
  readonly index: number;
  readonly values: number;
  readonly buffer: number;
  /** Rows gathered at a time. */
  readonly room: number;
}

/** What all tasks of a run share. */
export interface TaskConstants {
  readonly stride: number;
  readonly columns: number;
  readonly widths: number;
  /** Rows in a packed sum at most. */
  readonly limit: number;
  /** Bytes of one plane of a histogram. */
  readonly planeBytes: number;
}

/** Views of the shared memory that tasks are read from. */
export interface TaskViews {
  readonly words: Int32Array;
  readonly floats: Float64Array;
}

/** Runs the task that stands at word `at`. */
export function runTask(
  kernel: TrainingKernel,
  { words, floats }: TaskViews,
  at: number,
  scratch: ThreadScratch,
  constants: TaskConstants,
): void {
  const w = (i: number): number => words[at + i] as number;
  const f = (i: number): number => floats[((at + FLOATS_AT) >> 1) + i] as number;
  const { stride, columns, widths, limit, planeBytes } = constants;
  switch (w(0)) {
    case TASK.binaryGradients:
      kernel.binaryGradients(
        w(1),
        w(2),
        w(3),
        w(4),
        w(5),
        w(6),
        f(0),
        f(1),
        w(7),
        w(8),
        w(9),
        w(10),
        w(11),
        w(12),
      );
      break;
    case TASK.softmaxGradients:
      kernel.softmaxGradients(
        ...[w(1), w(2), w(3), w(4), w(5), w(6), w(7), w(8), f(0), f(1), f(2)],
        ...[w(9), w(10), w(11), w(12), w(13), w(14), w(15)],
      );
      break;
    case TASK.partition:
      words[at + 6] = kernel.partition(w(1), w(2), w(3), w(4), w(5));
      break;
    case TASK.listRows:
      words[at + 5] = kernel.listRows(w(1), w(2), w(3), w(4));
      break;
    case TASK.histogram: {
      // entries, count, bins, histogram, the parent's histogram or 0
      const out = w(4) >>> 0;
      const parent = w(5);
      words.fill(0, out >>> 2, (out + 2 * planeBytes) >>> 2);
      const { acc, index, values, buffer, room } = scratch;
      kernel.histogram(
        ...[w(1), w(2), limit, w(3), stride, columns, widths],
        ...[acc, index, values, buffer, Math.min(room, limit), out, out + planeBytes],
      );
      if (parent !== 0) kernel.subtract(parent, out, planeBytes >> 1);
      break;
    }
    case TASK.rootHistogram: {
      // packed, from, count, bins, histogram
      const out = w(5) >>> 0;
      words.fill(0, out >>> 2, (out + 2 * planeBytes) >>> 2);
      const { acc, room } = scratch;
      kernel.rootHistogram(
        ...[w(1), w(2), w(3), limit, w(4), stride, columns, widths],
        ...[acc, Math.min(room, limit), out, out + planeBytes],
      );
      break;
    }
    case TASK.leafSums:
      kernel.leafSums(w(1), w(2), w(3), w(4), w(5));
      break;
    case TASK.levelSums:
      kernel.levelSums(w(1), w(2), w(3));
      break;
    case TASK.addLeaf:
      kernel.addLeaf(w(1), w(2), w(3), f(0));
      break;
  }
}

/** Writes a task; `floats` go behind the words. */
export function writeTask(
  { words, floats }: TaskViews,
  at: number,
  values: readonly number[],
  ...more: readonly number[]
): void {
  for (let i = 0; i < values.length; i++) words[at + i] = values[i] as number;
  for (let i = 0; i < more.length; i++) floats[((at + FLOATS_AT) >> 1) + i] = more[i] as number;
}
