/** Rows of a leaf of the tree at most. */
const LEAF_ROWS = 16;
/** Dimensions that are added up before a distance is given up. */
const STEP = 8;

/**
 * Exact distance to the nearest of some points: a k-d tree (Bentley, 1975; bounds added up over dimensions as Arya and
 * Mount, 1993), cut at the median of the dimension with the largest spread. The tree is made here from the points, so a
 * model file holds the points alone. Not for concurrent use: a search writes to scratch of the tree.
 */
export class NearestRows {
  readonly #points: Float32Array;
  readonly #width: number;
  readonly #order: Uint32Array;
  /** Inner nodes in the order of a complete binary tree: dimension and value of the cut; 0xffff for a leaf. */
  readonly #cutDimension: Uint16Array;
  readonly #cutValue: Float32Array;
  readonly #query: Float32Array;
  readonly #offsets: Float64Array;
  #best = 0;
  #bestRow = 0;

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
    this.#query = new Float32Array(width);
    this.#offsets = new Float64Array(width);
    this.#divide(points, 1, 0, rows, depth);
    this.#points = new Float32Array(points.length);
    for (let i = 0; i < rows; i++) {
      const r = this.#order[i] as number;
      this.#points.set(points.subarray(r * width, (r + 1) * width), i * width);
    }
  }

  /** The row, as it was given, that the last search found; meaningless before one, or without points. */
  get nearest(): number {
    return this.#order[this.#bestRow] as number;
  }

  /**
   * Squared Euclidean distance of the point at `at` in `points` to the nearest row, or `limit` where none is nearer: a
   * limit spares the search among rows that are all far. Hot.
   */
  search(points: Float32Array, at: number, limit = Number.POSITIVE_INFINITY): number {
    const width = this.#width;
    const query = this.#query;
    for (let d = 0; d < width; d++) query[d] = points[at + d] as number;
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
    const points = this.#points;
    const query = this.#query;
    const width = this.#width;
    for (let row = from; row < to; row++) {
      const base = row * width;
      let sum = 0;
      let d = 0;
      while (d < width && sum < this.#best) {
        const end = d + STEP < width ? d + STEP : width;
        for (; d < end; d++) {
          const difference = (query[d] as number) - (points[base + d] as number);
          sum += difference * difference;
        }
      }
      if (sum < this.#best) {
        this.#best = sum;
        this.#bestRow = row;
      }
    }
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
