import { readFileSync } from 'node:fs';
import type { Digest } from '../../../src/base/index.ts';
import { BoostedModel, fitStatistics } from '../../../src/models/index.ts';
import { encodeRows, fitBinning } from '../../../src/training/binning.ts';
import { boost } from '../../../src/training/boosting.ts';
import { resolveTrainingConfig } from '../../../src/training/config.ts';
import { flattenTrees } from '../../../src/training/flatten-trees.ts';
import type { BenchData } from './data.ts';

/** Rows of both parts, row-major, as `synthesize` wrote them. */
export function readValues({ path, rows, testRows, columns }: BenchData): Float32Array {
  const file = readFileSync(`${path}.f32`);
  return new Float32Array(file.buffer, file.byteOffset, (rows + testRows) * columns);
}

/** Exactly so many trees of so many leaves on the rows that train: nothing is held out, and no round is left out. */
export async function trainBoosted(
  { path, rows, columns }: BenchData,
  values: Float32Array,
  shape: {
    readonly rounds: number;
    readonly leaves: number;
    readonly schemaId: Digest;
    readonly sourceKinds: readonly string[];
  },
): Promise<BoostedModel> {
  const labels = readFileSync(`${path}.u8`).subarray(0, rows);
  const numbers = new Array<number>(columns).fill(0);
  const all = Uint32Array.from({ length: rows }, (_, r) => r);
  const binning = fitBinning(values, columns, all, numbers, 256);
  const config = resolveTrainingConfig({
    ...{ rounds: shape.rounds, maxLeaves: shape.leaves, rowFraction: 1, featureFraction: 1 },
    ...{ treeRounds: 13, l2: 0, patience: 0 },
  });
  const binned = encodeRows(binning, values, columns, all);
  const trees = await boost({ binned, labels }, { config, seed: 1 });
  return new BoostedModel({
    ...{ schemaId: shape.schemaId, sourceKinds: shape.sourceKinds, kinds: [], threshold: 0.5 },
    columns: numbers.map((categories, c) => ({ name: `c${c}`, categories })),
    bias: trees.bias[0] as number,
    detector: flattenTrees(trees.trees, binning),
    calibration: { kind: 'platt', slope: 1, intercept: 0 },
    statistics: fitStatistics(values.subarray(0, 100 * columns), 100, numbers, [0]),
  });
}
