import type { SeededRandom } from '../../src/base/index.ts';
import {
  BITSET_WORDS,
  BoostedModel,
  CATEGORICAL,
  fitStatistics,
  MISSING_LEFT,
  type ModelColumn,
  type TreeEnsemble,
} from '../../src/models/index.ts';

export const RANDOM_COLUMNS: readonly ModelColumn[] = [
  { name: 'duration', categories: 0 },
  { name: 'service', categories: 70 },
  { name: 'rate', categories: 0 },
];

/** A well-formed ensemble of random trees over RANDOM_COLUMNS, or over other columns. */
export function randomEnsemble(
  random: SeededRandom,
  trees: number,
  splits: number,
  columns: readonly ModelColumn[] = RANDOM_COLUMNS,
): TreeEnsemble {
  const nodes: number[][] = [];
  const roots: number[] = [];
  const bitsets: number[] = [];
  for (let t = 0; t < trees; t++) {
    const start = nodes.length;
    roots.push(start);
    nodes.push([0, 0, random.uniform(-1, 1), 0, 0, random.integer(1, 1000)]);
    for (let s = 0; s < splits; s++) {
      // Splitting the newest leaves keeps children behind their parents.
      const leaf = random.integer(Math.max(start, nodes.length - 2), nodes.length - 1);
      const node = nodes[leaf] as number[];
      const column = random.integer(0, columns.length - 1);
      const isCategory = columns[column]?.categories !== 0;
      node[0] = nodes.length;
      node[1] = column;
      node[3] = (random.chance(0.5) ? MISSING_LEFT : 0) | (isCategory ? CATEGORICAL : 0);
      if (isCategory) {
        node[4] = bitsets.length / BITSET_WORDS;
        for (let w = 0; w < BITSET_WORDS; w++) bitsets.push(random.uint32());
      }
      for (let c = 0; c < 2; c++) nodes.push([0, 0, random.uniform(-1, 1), 0, 0, random.integer(1, 500)]);
    }
  }
  const of = (i: number): number[] => nodes.map((node) => node[i] as number);
  return {
    roots: Uint32Array.from(roots),
    child: Uint32Array.from(of(0)),
    feature: Uint16Array.from(of(1)),
    value: Float32Array.from(of(2)),
    flags: Uint8Array.from(of(3)),
    block: Uint32Array.from(of(4)),
    cover: Uint32Array.from(of(5)),
    bitsets: Uint32Array.from(bitsets),
  };
}

/** Rows for RANDOM_COLUMNS with missing values and categories nobody declared. */
export function randomRows(random: SeededRandom, rows: number): Float32Array {
  const values = new Float32Array(rows * 3);
  for (let r = 0; r < rows; r++) {
    values[r * 3] = random.chance(0.1) ? Number.NaN : random.uniform(-1, 1);
    values[r * 3 + 1] = random.chance(0.1) ? Number.NaN : random.integer(-2, 300);
    values[r * 3 + 2] = random.uniform(-1, 1);
  }
  return values;
}

/** A model of random trees; with `kinds`, a kind stage of one ensemble a kind. */
export function randomModel(
  random: SeededRandom,
  trees = 3,
  splits = 4,
  kinds: readonly string[] = [],
): BoostedModel {
  const categories = RANDOM_COLUMNS.map((column) => column.categories);
  return new BoostedModel({
    schemaId: `sha256:${'ab'.repeat(32)}`,
    sourceKinds: ['packets'],
    columns: RANDOM_COLUMNS,
    kinds,
    threshold: 0.5,
    bias: -0.25,
    detector: randomEnsemble(random, trees, splits),
    calibration: { kind: 'platt', slope: 1.5, intercept: 0.125 },
    ...(kinds.length === 0
      ? {}
      : {
          kindStage: {
            biases: kinds.map(() => random.uniform(-1, 1)),
            treeCounts: kinds.map(() => 2),
            ensemble: randomEnsemble(random, 2 * kinds.length, splits),
          },
        }),
    statistics: fitStatistics(randomRows(random, 50), 50, categories, [0, 1, 2]),
  });
}
