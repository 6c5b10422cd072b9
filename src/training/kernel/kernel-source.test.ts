import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { syntheticTable } from '../../../test/support/synthetic-table.ts';
import { PlainHistogramSource } from '../../../test/twins/plain-histogram-source.ts';
import { SeededRandom } from '../../base/index.ts';
import { encodeRows, fitBinning, type LabelledBins } from '../binning.ts';
import { growTrees, runConstants } from '../boosting.ts';
import { resolveTrainingConfig, type TrainingConfig } from '../config.ts';
import type { HistogramSource } from '../histogram-source.ts';
import { KernelSource, type SourceOptions } from './kernel-source.ts';

const TABLE = syntheticTable(3000, 5);
const TRAIN = Uint32Array.from({ length: 2500 }, (_, r) => r);
const HELD = Uint32Array.from({ length: 500 }, (_, r) => 2500 + r);
const BINNING = fitBinning(TABLE.values, 5, TRAIN, [0, 0, 6, 0, 0], 64);
const RANDOM = new SeededRandom(8);
const WEIGHTS = Float32Array.from(TABLE.labels, () => RANDOM.uniform(0, 3));

interface Case {
  readonly config: Partial<TrainingConfig>;
  readonly classes?: 2 | 3;
  readonly weighted?: boolean;
  readonly monotone?: readonly number[];
}

function optionsOf({ config, classes = 2, weighted = false }: Case, more: Partial<SourceOptions> = {}) {
  const settings = resolveTrainingConfig({ rounds: 4, rowFraction: 1, featureFraction: 1, ...config });
  const of = (rows: Uint32Array): LabelledBins => ({
    binned: encodeRows(BINNING, TABLE.values, 5, rows),
    labels: Uint8Array.from(rows, (r) => (classes === 2 ? TABLE.labels : TABLE.typeIndex)[r] as number),
    weights: weighted ? Float32Array.from(rows, (r) => WEIGHTS[r] as number) : undefined,
  });
  const training = of(TRAIN);
  const constants = runConstants(training, settings, classes);
  const { maxLeaves, rowFraction, gradientLevels, leafSums } = settings;
  const options: SourceOptions = {
    ...{
      training,
      validation: of(HELD),
      seed: 3,
      threads: 1,
      maxLeaves,
      rowFraction,
      gradientLevels,
      leafSums,
    },
    ...constants,
    ...more,
  };
  return { settings, options };
}

/** Everything of a run that a model could depend on. */
async function grow(source: HistogramSource, tried: Case, config: TrainingConfig, options: SourceOptions) {
  const monotone = Int8Array.from(tried.monotone ?? new Array(BINNING.columns.length).fill(0));
  const { trees, validationLoss } = await growTrees(source, { ...options, config, monotone });
  return { trees, validationLoss };
}

async function growInKernel(tried: Case, more: Partial<SourceOptions> = {}) {
  const { settings, options } = optionsOf(tried, more);
  const source = new KernelSource(options);
  try {
    return await grow(source, tried, settings, options);
  } finally {
    await source.close();
  }
}

const CASES: Readonly<Record<string, Case>> = {
  'two classes': { config: {} },
  'three classes': { config: {}, classes: 3 },
  weights: { config: { gradientLevels: 5 }, weighted: true },
  'weights and three classes': { config: {}, weighted: true, classes: 3 },
  'samples of rows and columns': { config: { rowFraction: 0.5, featureFraction: 0.7 } },
  'the finest levels': { config: { gradientLevels: 127, maxLeaves: 200, minRowsPerLeaf: 1 } },
  'penalties, depth and decay': {
    config: { l1: 2, l2: 3, maxDepth: 3, learningRateDecay: 0.5, minGain: 1 },
  },
  'leaf values of rounded gradients': {
    config: { leafSums: 'rounded', gradientLevels: 2 },
    classes: 3,
    weighted: true,
  },
  'a monotone column': { config: { maxLeaves: 15 }, monotone: [1, 0, 0, -1] },
};

suite('kernels and their naive twin', () => {
  for (const [name, tried] of Object.entries(CASES)) {
    test(`grow the same trees: ${name}`, async () => {
      const { settings, options } = optionsOf(tried);
      const expected = await grow(new PlainHistogramSource(options), tried, settings, options);
      assert.ok(expected.trees.some(({ child }) => child.length > 1));
      assert.deepEqual(await growInKernel(tried), expected);
    });
  }

  test('agree whatever the threads and the blocks', async () => {
    const tried = { config: { rowFraction: 0.7 }, classes: 3 } as const;
    const expected = await growInKernel(tried);
    assert.deepEqual(await growInKernel(tried, { threads: 2 }), expected);
    assert.deepEqual(await growInKernel(tried, { threads: 3, blockRows: 7 }), expected);
    assert.deepEqual(await growInKernel(tried, { blockRows: 1 }), expected);
  });
});

test('leaves that threads share are the same as a single thread sums them', async () => {
  const rows = Uint32Array.from({ length: 80_000 }, (_, i) => i % 2500);
  const training: LabelledBins = {
    binned: encodeRows(BINNING, TABLE.values, 5, rows),
    labels: Uint8Array.from(
      rows,
      (r, i) => (i % 11 === 0 ? 1 - (TABLE.labels[r] as number) : TABLE.labels[r]) as number,
    ),
  };
  const one = await growInKernel({ config: { rounds: 3 } }, { training });
  assert.ok(one.trees.every(({ child }) => child.length > 9));
  assert.deepEqual(await growInKernel({ config: { rounds: 3 } }, { training, threads: 2 }), one);
});
