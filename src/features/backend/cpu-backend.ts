import {
  type BinColumn,
  checkBin,
  checkNormalise,
  checkReduce,
  type FeatureBackend,
  type FloatTable,
  type Normalisation,
  type Reduction,
} from './feature-backend.ts';

/** The operations in plain loops: the reference that a device is compared with, and what runs where there is none. */
export class CpuBackend implements FeatureBackend {
  readonly kind = 'cpu';

  async normalise(table: FloatTable, plan: Normalisation, out: Float32Array): Promise<void> {
    checkNormalise(table, plan, out);
    const { values, rows, columns } = table;
    const { log1p, mean, deviation, clip } = plan;
    for (let row = 0, i = 0; row < rows; row++) {
      for (let c = 0; c < columns; c++, i++) {
        const x = values[i] as number;
        const y = log1p[c] === 1 ? (x > -1 ? Math.log1p(x) : Number.NaN) : x;
        const z = (y - (mean[c] as number)) / (deviation[c] as number);
        // An infinity is missing, not a very large number.
        out[i] = Number.isFinite(x) ? Math.max(-clip, Math.min(clip, z)) : Number.NaN;
      }
    }
  }

  async bin(table: FloatTable, columns: readonly BinColumn[], out: Uint8Array | Uint16Array): Promise<void> {
    checkBin(table, columns, out);
    const { values, rows } = table;
    columns.forEach(({ column, cuts, categories }, f) => {
      const edges = categories ?? cuts;
      const isCategory = categories !== undefined;
      for (let row = 0; row < rows; row++) {
        const x = values[row * table.columns + column] as number;
        out[row * columns.length + f] = Number.isFinite(x) ? binOf(x, edges, isCategory) : 0;
      }
    });
  }

  async reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void> {
    checkReduce(table, keys, out);
    const { values, rows, columns } = table;
    const { sums, maxima, counts } = out;
    sums.fill(0);
    maxima.fill(Number.NaN);
    counts.fill(0);
    for (let row = 0; row < rows; row++) {
      const base = (keys[row] as number) * columns;
      for (let c = 0; c < columns; c++) {
        const x = values[row * columns + c] as number;
        if (!Number.isFinite(x)) continue;
        const at = base + c;
        sums[at] = (sums[at] as number) + x;
        if (counts[at] === 0 || x > (maxima[at] as number)) maxima[at] = x;
        counts[at] = (counts[at] as number) + 1;
      }
    }
  }

  close(): void {}
}

/** A category is looked up whole, a number goes behind the first cut that is not below it. */
function binOf(x: number, edges: Float32Array | Uint16Array, isCategory: boolean): number {
  const wanted = isCategory ? Math.trunc(x) : x;
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((edges[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  // A category between -1 and 0 is none, though it truncates to the first.
  if (isCategory && (x < 0 || low === edges.length || edges[low] !== wanted)) return 0;
  return low + 1;
}
