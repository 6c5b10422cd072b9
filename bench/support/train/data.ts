import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '../../../src/base/index.ts';
import { loadSchema, readTable } from '../../../src/features/index.ts';
import { sharedDataPath } from '../../../test/support/requires.ts';

/** A data set as files that every contender reads: `PATH.f32`, row-major, and `PATH.u8`, the classes. */
export interface BenchData {
  readonly name: string;
  readonly path: string;
  /** The first rows train, the others are measured on. */
  readonly rows: number;
  readonly testRows: number;
  readonly columns: number;
  readonly classes: number;
}

/**
 * Rows of numbers of four kinds (normal, log-normal, whole, uniform), labelled by chance from sums, maxima and thresholds of
 * some of them, by seed. `sharpness` is the spread of the log-odds: the larger, the less is left to chance.
 */
export function synthesize(
  folder: string,
  shape: Omit<BenchData, 'path'>,
  { seed, sharpness }: { readonly seed: number; readonly sharpness: number },
): BenchData {
  const { name, rows, testRows, columns, classes } = shape;
  const path = join(folder, name);
  const all = rows + testRows;
  const random = new SeededRandom(seed);
  const values = new Float32Array(all * columns);
  const outputs = classes === 2 ? 1 : classes;
  const terms = Array.from({ length: outputs }, () =>
    Array.from({ length: 24 }, () => ({
      a: random.integer(0, columns - 1),
      b: random.integer(0, columns - 1),
      kind: random.integer(0, 2),
      weight: random.normal(),
    })),
  );
  const scores = Array.from({ length: outputs }, () => new Float64Array(all));
  for (let r = 0; r < all; r++) {
    const at = r * columns;
    for (let c = 0; c < columns; c++) {
      const z = random.normal();
      values[at + c] = [z, Math.exp(z), Math.floor(Math.abs(z) * 20), random.uniform(-2, 2)][c % 4] as number;
    }
    terms.forEach((list, k) => {
      let score = 0;
      for (const { a, b, kind, weight } of list) {
        const [x, y] = [shrink(values[at + a] as number, a), shrink(values[at + b] as number, b)];
        score += weight * (kind === 0 ? x : kind === 1 ? Math.max(x, y) : x > 0.3 && y < 0.8 ? 1 : 0);
      }
      (scores[k] as Float64Array)[r] = score;
    });
  }
  for (const score of scores) standardize(score, sharpness);
  const labels = Uint8Array.from({ length: all }, (_, r) => {
    const noisy = scores.map((score) => (score[r] as number) - Math.log(-Math.log(random.uniform(1e-12, 1))));
    if (outputs === 1) return random.chance(1 / (1 + Math.exp(-(scores[0]?.[r] as number)))) ? 1 : 0;
    return noisy.indexOf(Math.max(...noisy));
  });
  return write({ ...shape, path }, values, labels);
}

/** The training file of a public data set: four fifths train, every fifth row is measured on. Undefined where absent. */
export async function publicData(folder: string, name: string, file: string): Promise<BenchData | undefined> {
  const path = sharedDataPath(file);
  if (path === undefined || !existsSync(path)) return undefined;
  const table = await readTable(path, await loadSchema(name === 'kdd99' ? 'kdd99' : 'nsl-kdd'));
  const order = [...table.labels.keys()];
  new SeededRandom(1).shuffle(order);
  const values = new Float32Array(table.values.length);
  const labels = new Uint8Array(table.rows);
  order.forEach((r, i) => {
    values.set(table.values.subarray(r * table.columns, (r + 1) * table.columns), i * table.columns);
    labels[i] = table.labels[r] as number;
  });
  const rows = Math.floor(table.rows * 0.8);
  const shape = { name, rows, testRows: table.rows - rows, columns: table.columns, classes: 2 };
  return write({ ...shape, path: join(folder, name) }, values, labels);
}

function write(data: BenchData, values: Float32Array, labels: Uint8Array): BenchData {
  mkdirSync(join(data.path, '..'), { recursive: true });
  writeFileSync(`${data.path}.f32`, values);
  writeFileSync(`${data.path}.u8`, labels);
  return data;
}

/** Brings a column's values to about [-2, 2]. */
function shrink(x: number, column: number): number {
  return column % 4 === 1 ? Math.log(x) : column % 4 === 2 ? x / 10 - 1.5 : x;
}

function standardize(values: Float64Array, spread: number): void {
  let [sum, squares] = [0, 0];
  for (const x of values) {
    sum += x;
    squares += x * x;
  }
  const mean = sum / values.length;
  const deviation = Math.sqrt(squares / values.length - mean * mean);
  for (let i = 0; i < values.length; i++) values[i] = (((values[i] as number) - mean) / deviation) * spread;
}
