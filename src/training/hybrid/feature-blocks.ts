import type { LabelledTable } from '../labelled-table.ts';

/** Columns of numbers whose ranks correlate this strongly in normal traffic belong together. */
const JOINED = 0.5;
/** Rows that correlations are taken from at most. */
const SAMPLE = 4000;

/**
 * Blocks of columns that exposure replaces together, each ascending: a category stands alone; numbers form clusters by
 * average linkage of the absolute rank correlation among these rows (normal traffic). Blocks named by hand for NSL-KDD
 * did no better.
 */
export function featureBlocks(
  table: LabelledTable,
  rows: Uint32Array,
  categories: readonly number[],
): readonly (readonly number[])[] {
  const numbers = [...categories.keys()].filter((c) => categories[c] === 0);
  const blocks = [...categories.keys()].filter((c) => categories[c] !== 0).map((c) => [c]);
  return [...blocks, ...clusterColumns(table, rows, numbers)].sort(([a = 0], [b = 0]) => a - b);
}

function clusterColumns(table: LabelledTable, rows: Uint32Array, columns: readonly number[]): number[][] {
  const step = Math.max(1, Math.floor(rows.length / SAMPLE));
  const sample = rows.filter((_, i) => i % step === 0).slice(0, SAMPLE);
  const ranks = columns.map((c) =>
    centredRanks(sample, (r) => table.values[r * table.columns + c] as number),
  );
  const likeness = ranks.map((a) => ranks.map((b) => Math.abs(dot(a, b))));
  const clusters = columns.map((_, i) => [i]);
  for (;;) {
    let [best, first, second] = [JOINED, -1, -1];
    for (let i = 0; i < clusters.length; i++) {
      for (let j = i + 1; j < clusters.length; j++) {
        let sum = 0;
        for (const a of clusters[i] as number[]) {
          for (const b of clusters[j] as number[]) sum += likeness[a]?.[b] as number;
        }
        const mean = sum / ((clusters[i] as number[]).length * (clusters[j] as number[]).length);
        if (mean > best) [best, first, second] = [mean, i, j];
      }
    }
    if (first === -1) break;
    (clusters[first] as number[]).push(...(clusters[second] as number[]));
    clusters.splice(second, 1);
  }
  return clusters.map((cluster) => cluster.map((i) => columns[i] as number).sort((a, b) => a - b));
}

/** Midranks minus their mean, scaled to length 1; all 0 for a column that does not vary. Missing ranks lowest. */
function centredRanks(rows: Uint32Array, at: (row: number) => number): Float64Array {
  const values = Float64Array.from(rows, (r) => (Number.isNaN(at(r)) ? Number.NEGATIVE_INFINITY : at(r)));
  const order = Uint32Array.from(values.keys()).sort((a, b) => {
    const [x, y] = [values[a] as number, values[b] as number];
    return x < y ? -1 : x > y ? 1 : a - b;
  });
  const ranks = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to++;
    for (let i = from; i < to; i++) ranks[order[i] as number] = (from + to - 1) / 2 - (order.length - 1) / 2;
    from = to;
  }
  const length = Math.sqrt(dot(ranks, ranks));
  return length === 0 ? ranks : ranks.map((x) => x / length);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
