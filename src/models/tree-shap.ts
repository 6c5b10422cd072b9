import { goesLeft, type TreeEnsemble } from './tree-ensemble.ts';

/**
 * Exact Shapley values of tree ensembles, path dependent (Lundberg, Erion and Lee 2018, "Consistent individualized
 * feature attribution for tree ensembles", algorithm 2): a column that is not known goes both ways, weighed by the
 * training rows of the children. The values and the mean margin of the training rows add up to the row's margin.
 *
 * Memory is taken once, for the deepest tree. O(trees x leaves x depth^2) a row. Not for concurrent use.
 */
export class TreeShap {
  readonly #ensemble: TreeEnsemble;
  /** The path of unique columns to the present node; each depth keeps a copy of its own. */
  readonly #column: Int32Array;
  /** Share of training rows that go the path's way when the column is not known; and 1 or 0 when it is. */
  readonly #zero: Float64Array;
  readonly #one: Float64Array;
  /** Proportion of the subsets of each size that flow this way. */
  readonly #weight: Float64Array;

  constructor(ensemble: TreeEnsemble) {
    this.#ensemble = ensemble;
    const depth = deepest(ensemble) + 2;
    const length = (depth * (depth + 1)) / 2;
    this.#column = new Int32Array(length);
    this.#zero = new Float64Array(length);
    this.#one = new Float64Array(length);
    this.#weight = new Float64Array(length);
  }

  /** Adds each column's value to `out`, in units of the margin. `row`: Float32Array, one value a column. */
  add(row: Float32Array, out: Float64Array): void {
    for (const root of this.#ensemble.roots) this.#walk(root, row, out, 0, 0, 1, 1, -1);
  }

  /**
   * Visits a node whose path has `length` entries, copied from the `length` ones before `at`, and extends it by the split
   * that led here.
   */
  #walk(
    node: number,
    row: Float32Array,
    out: Float64Array,
    length: number,
    at: number,
    zero: number,
    one: number,
    column: number,
  ): void {
    const from = at - length;
    for (let i = 0; i < length; i++) this.#copy(from + i, at + i);
    this.#extend(at, length, zero, one, column);
    const { child, feature, value, cover } = this.#ensemble;
    const left = child[node] as number;
    if (left === 0) {
      for (let i = 1; i <= length; i++) {
        const c = this.#column[at + i] as number;
        const share = this.#unwoundSum(at, length, i);
        out[c]! +=
          share * ((this.#one[at + i] as number) - (this.#zero[at + i] as number)) * (value[node] as number);
      }
      return;
    }
    const tested = feature[node] as number;
    const isLeft = goesLeft(this.#ensemble, node, row[tested] as number);
    const hot = isLeft ? left : left + 1;
    const cold = isLeft ? left + 1 : left;
    let size = length;
    let zeroBefore = 1;
    let oneBefore = 1;
    for (let i = 1; i <= length; i++) {
      if (this.#column[at + i] !== tested) continue;
      zeroBefore = this.#zero[at + i] as number;
      oneBefore = this.#one[at + i] as number;
      this.#unwind(at, length, i);
      size--;
      break;
    }
    const both = (cover[hot] as number) + (cover[cold] as number);
    const hotShare = both === 0 ? 0.5 : (cover[hot] as number) / both;
    const next = at + size + 1;
    this.#walk(hot, row, out, size + 1, next, hotShare * zeroBefore, oneBefore, tested);
    this.#walk(cold, row, out, size + 1, next, (1 - hotShare) * zeroBefore, 0, tested);
  }

  #copy(from: number, to: number): void {
    this.#column[to] = this.#column[from] as number;
    this.#zero[to] = this.#zero[from] as number;
    this.#one[to] = this.#one[from] as number;
    this.#weight[to] = this.#weight[from] as number;
  }

  /** Adds an entry behind `length` others and grows the weights of the subsets by it. */
  #extend(at: number, length: number, zero: number, one: number, column: number): void {
    const weight = this.#weight;
    this.#column[at + length] = column;
    this.#zero[at + length] = zero;
    this.#one[at + length] = one;
    weight[at + length] = length === 0 ? 1 : 0;
    for (let i = length - 1; i >= 0; i--) {
      const w = weight[at + i] as number;
      weight[at + i + 1] = (weight[at + i + 1] as number) + (one * w * (i + 1)) / (length + 1);
      weight[at + i] = (zero * w * (length - i)) / (length + 1);
    }
  }

  /** Takes entry `index` out of a path whose last entry is `last`: the inverse of `#extend`. */
  #unwind(at: number, last: number, index: number): void {
    const weight = this.#weight;
    const one = this.#one[at + index] as number;
    const zero = this.#zero[at + index] as number;
    let next = weight[at + last] as number;
    for (let i = last - 1; i >= 0; i--) {
      const w = weight[at + i] as number;
      if (one !== 0) {
        weight[at + i] = (next * (last + 1)) / ((i + 1) * one);
        next = w - ((weight[at + i] as number) * zero * (last - i)) / (last + 1);
      } else weight[at + i] = (w * (last + 1)) / (zero * (last - i));
    }
    for (let i = index; i < last; i++) {
      this.#column[at + i] = this.#column[at + i + 1] as number;
      this.#zero[at + i] = this.#zero[at + i + 1] as number;
      this.#one[at + i] = this.#one[at + i + 1] as number;
    }
  }

  /** The sum of the weights that `#unwind` would leave. */
  #unwoundSum(at: number, last: number, index: number): number {
    const weight = this.#weight;
    const one = this.#one[at + index] as number;
    const zero = this.#zero[at + index] as number;
    let next = weight[at + last] as number;
    let sum = 0;
    for (let i = last - 1; i >= 0; i--) {
      if (one !== 0) {
        const w = (next * (last + 1)) / ((i + 1) * one);
        sum += w;
        next = (weight[at + i] as number) - (w * zero * (last - i)) / (last + 1);
      } else if (zero !== 0) sum += ((weight[at + i] as number) * (last + 1)) / (zero * (last - i));
    }
    return sum;
  }
}

/** Splits on the longest path from a root to a leaf. */
function deepest({ child, roots }: TreeEnsemble): number {
  const depth = new Uint32Array(child.length);
  let most = 0;
  let tree = 0;
  for (let n = 0; n < child.length; n++) {
    if (n === roots[tree]) tree++;
    const left = child[n] as number;
    if (left === 0) continue;
    const below = (depth[n] as number) + 1;
    depth[left] = below;
    depth[left + 1] = below;
    if (below > most) most = below;
  }
  return most;
}
