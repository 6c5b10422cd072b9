import { FLOW_NUMBER_INDEX as AT, type FlowBatch, IDENTITY, IDENTITY_WORDS } from '../traffic/index.ts';
import { hasFailed, serviceKey } from './flow-classes.ts';
import type { FlowWindows } from './flow-windows.ts';
import type { SlidingWindowLimits } from './schema.ts';
import { WindowsKernel } from './windows-kernel.ts';

/** Counts of both windows, then what each kind of key counts as distinct: in the short window, then in the long one. */
const COUNTS = [
  'flows_short',
  'failed_short',
  'bytes_short',
  'flows_long',
  'failed_long',
  'out_bytes_long',
  'in_bytes_long',
] as const;

const columnsOf = (key: string, ...distinct: readonly string[]) => [
  ...COUNTS.map((name) => `${key}_${name}`),
  ...distinct.flatMap((name) => [`${key}_${name}_short`, `${key}_${name}_long`]),
];

/** Every value of the sliding windows; a schema picks among them by name. */
export const SLIDING_WINDOW_COLUMNS: readonly string[] = [
  ...columnsOf('src', 'hosts', 'services'),
  ...columnsOf('dst', 'hosts', 'services'),
  ...columnsOf('srv', 'sources', 'hosts'),
  ...columnsOf('pair', 'services'),
  ...columnsOf('dst_srv', 'sources'),
  'pair_interval_mean',
  'pair_interval_variation',
];

/** Of a row that the kernel is given. */
const FAILED = 1;
const LEFT_OUT = 2;

/**
 * Windows over start times of a flow's source, destination, service (protocol and responder's port), pair, and
 * destination with service, each a record that is brought up to date: the cost of a flow does not grow with the
 * windows. The work is done by `kernels/windows.ts`.
 *
 * Time goes in buckets, 8 of them a span. The short window of a key is its last 4 buckets, the long one its last 4
 * spans, the newest of each only as far as time has come. A flow counts in the bucket of its start. Where that is older
 * than the short window it counts in the oldest bucket of that: late flows count when they are told of. A start later
 * than all before moves the windows on. 16 flows in a row from before all of the long window say that the clock was set
 * back, and the key begins anew.
 *
 * A set of distinct values holds up to 16 and the bucket each was last in, and is exact; the 17th makes it a sketch
 * (HyperLogLog with linear counting below 2.5 registers; Flajolet, Fusy, Gandouet and Meunier, 2007; 256 registers, a
 * standard error of 6.5 %) until the key was silent for a long window. Where no sketch is left it stays full, and values
 * beyond the 16 are not counted.
 *
 * How regular the flows of a pair begin: mean and coefficient of variation of the times between successive starts, in
 * order of arrival and by amount, so that late flows need no rule. The first 16 count alike, then older ones fade
 * (exponentially weighted moments; T. Finch, "Incremental calculation of weighted mean and variance", 2009); missing
 * below 3 intervals.
 *
 * Keys are remembered by second chance (F. J. Corbató, "A paging experiment with the Multics system", 1968): a hand goes
 * round the keys, spares each that was seen since its last visit, and stops at the first other. Which key goes depends on
 * the order of the keys alone, not on the hash. A host that was forgotten comes back as a new one, with new pairs and
 * services.
 *
 * Memory grows with the keys: 0.5 KB for each source, destination and service, 0.4 KB for each pair and each service of a
 * destination, 3 KB a sketch; what is not used yet is address space alone.
 */
export class SlidingWindows implements FlowWindows {
  readonly columns = SLIDING_WINDOW_COLUMNS;
  readonly #kernel: WindowsKernel;

  constructor(limits: SlidingWindowLimits) {
    this.#kernel = new WindowsKernel(limits);
  }

  get remembered(): number {
    return this.#kernel.functions.remembered();
  }

  get forgotten(): number {
    return this.#kernel.functions.forgotten();
  }

  /** Sketches in use, and values left out because there was none. */
  get sketches(): { readonly used: number; readonly refused: number } {
    const { sketches_used, sketches_refused } = this.#kernel.functions;
    return { used: sketches_used(), refused: sketches_refused() };
  }

  add(
    batch: FlowBatch,
    from: number,
    rows: number,
    leftOut: Uint8Array,
    cells: Float64Array,
    at: number,
  ): void {
    const { identity, numbers, capacity } = batch;
    const kernel = this.#kernel;
    const { starts, outBytes, inBytes, services, flags } = kernel;
    kernel.identity.set(identity.subarray(from * IDENTITY_WORDS, (from + rows) * IDENTITY_WORDS));
    const start = AT.start_ms * capacity + from;
    const forward = AT.forward_bytes * capacity + from;
    const backward = AT.backward_bytes * capacity + from;
    for (let row = 0; row < rows; row++) {
      const id = (from + row) * IDENTITY_WORDS;
      const protocol = (identity[id + IDENTITY.kind] as number) & 255;
      const failed = hasFailed(protocol, (identity[id + IDENTITY.outcome] as number) & 255);
      starts[row] = numbers[start + row] as number;
      outBytes[row] = numbers[forward + row] as number;
      inBytes[row] = numbers[backward + row] as number;
      services[row] = serviceKey(protocol, (identity[id + IDENTITY.ports] as number) & 0xffff);
      flags[row] = (failed !== 0 ? FAILED : 0) | (leftOut[row] !== 0 ? LEFT_OUT : 0);
    }
    kernel.functions.add_rows(rows);
    cells.set(kernel.cells, at);
  }
}
