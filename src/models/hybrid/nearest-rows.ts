import { instantiateKernel, loadKernel, newKernelMemory } from '../../base/index.ts';

/** Functions of the kernel `dense`. */
interface DenseKernel {
  readonly nearest: (
    points: number,
    query: number,
    width: number,
    from: number,
    to: number,
    best: number,
  ) => number;
  readonly nearest_row: () => number;
}

/** Rows of a leaf of the tree at most: what the kernel looks through in one call. */
const LEAF_ROWS = 64;
/** Floats that the kernel takes at a time; rows are filled up with zeros. */
const STRANDS = 16;
/** Bytes below it are the kernel's. */
const FIRST_BYTE = 1024;
const PAGE = 65_536;

/**
 * Distance to the nearest of some points: a k-d tree (Bentley, 1975; bounds added up over dimensions as Arya and Mount,
 * 1993), cut at the median of the dimension with the largest spread, whose leaves a kernel looks through. The tree is
 * made here from the points, so a model file holds the points alone. Not for concurrent use: a search writes to scratch.
 */
export class NearestRows {
  readonly #width: number;
  readonly #order: Uint32Array;
  /** Inner nodes in the order of a complete binary tree: dimension and value of the cut; 0xffff for a leaf. */
  readonly #cutDimension: Uint16Array;
  readonly #cutValue: Float32Array;
  readonly #kernel: DenseKernel;
  /** Floats of a row in the kernel's memory. */
  readonly #stride: number;
  readonly #query: Float32Array;
  readonly #offsets: Float64Array;
  #best = 0;

  /** Points: Float32Array, row-major rows x width, all finite; copied in the tree's order. */
  constructor(points: Float32Array, width: number) {
    const rows = width === 0 ? 0 : points.length / width;
    this.#width = width;
    this.#order = Uint32Array.from({ length: rows }, (_, r) => r);
    let depth = 0;
    while (rows >> depth > LEAF_ROWS) depth++;
    const nodes = 2 ** (depth + 1);
    this.#cutDimension = new Uint16Array(nodes).fill(0xffff);
    this.#cutValue = new Float32Array(nodes);
    this.#offsets = new Float64Array(width);
    this.#divide(points, 1, 0, rows, depth);
    this.#stride = Math.ceil(width / STRANDS) * STRANDS;
    const bytes = FIRST_BYTE + (rows + 1) * this.#stride * 4;
    const memory = newKernelMemory({ initialPages: Math.ceil(bytes / PAGE), maximumPages: PAGE });
    this.#kernel = instantiateKernel<DenseKernel>(loadKernel('dense'), memory);
    const floats = new Float32Array(memory.buffer, FIRST_BYTE, (rows + 1) * this.#stride);
    for (let i = 0; i < rows; i++) {
      const r = this.#order[i] as number;
      floats.set(points.subarray(r * width, (r + 1) * width), i * this.#stride);
    }
    this.#query = floats.subarray(rows * this.#stride, rows * this.#stride + width);
  }

  /** The row, as it was given, that the last search found; meaningless where it found none. */
  get nearest(): number {
    return this.#order[this.#kernel.nearest_row()] as number;
  }

  /**
   * Squared Euclidean distance, a float32, of the point at `at` in `points` to the nearest row, or `limit` where none is
   * nearer: a limit spares the search among rows that are all far. Hot.
   */
  search(points: Float32Array, at: number, limit = Number.POSITIVE_INFINITY): number {
    const query = this.#query;
    for (let d = 0; d < this.#width; d++) query[d] = points[at + d] as number;
    this.#offsets.fill(0);
    this.#best = limit;
    this.#visit(1, 0, this.#order.length, 0);
    return this.#best;
  }

  #visit(node: number, from: number, to: number, bound: number): void {
    const dimension = this.#cutDimension[node] as number;
    if (dimension === 0xffff) {
      this.#scan(from, to);
      return;
    }
    const middle = (from + to) >>> 1;
    const away = (this.#query[dimension] as number) - (this.#cutValue[node] as number);
    if (away <= 0) this.#visit(2 * node, from, middle, bound);
    else this.#visit(2 * node + 1, middle, to, bound);
    const before = this.#offsets[dimension] as number;
    const farther = bound - before * before + away * away;
    if (farther >= this.#best) return;
    this.#offsets[dimension] = away;
    if (away <= 0) this.#visit(2 * node + 1, middle, to, farther);
    else this.#visit(2 * node, from, middle, farther);
    this.#offsets[dimension] = before;
  }

  #scan(from: number, to: number): void {
    const query = FIRST_BYTE + this.#order.length * this.#stride * 4;
    this.#best = this.#kernel.nearest(FIRST_BYTE, query, this.#stride, from, to, this.#best);
  }

  #divide(points: Float32Array, node: number, from: number, to: number, depth: number): void {
    if (depth === 0) return;
    const dimension = this.#widestDimension(points, from, to);
    const part = this.#order.subarray(from, to);
    const at = (row: number): number => points[row * this.#width + dimension] as number;
    part.sort((a, b) => at(a) - at(b) || a - b);
    const middle = (from + to) >>> 1;
    this.#cutDimension[node] = dimension;
    this.#cutValue[node] = at(this.#order[middle] as number);
    this.#divide(points, 2 * node, from, middle, depth - 1);
    this.#divide(points, 2 * node + 1, middle, to, depth - 1);
  }

  #widestDimension(points: Float32Array, from: number, to: number): number {
    let [widest, spread] = [0, -1];
    for (let d = 0; d < this.#width; d++) {
      let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      for (let i = from; i < to; i++) {
        const x = points[(this.#order[i] as number) * this.#width + d] as number;
        if (x < low) low = x;
        if (x > high) high = x;
      }
      if (high - low > spread) [widest, spread] = [d, high - low];
    }
    return widest;
  }
}
