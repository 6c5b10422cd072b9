import { readFileSync } from 'node:fs';
import { ManualClock } from '../../src/base/index.ts';
import { canonicalJson, sha256 } from '../../src/crypto/index.ts';
import type { FeatureSchema } from '../../src/features/index.ts';
import { BoostedModel, encodeModel, fitStatistics } from '../../src/models/index.ts';
import type { Candidate, VerifiedModel } from '../../src/registry/index.ts';
import { encodeRows, fitBinning } from '../../src/training/binning.ts';
import { boost } from '../../src/training/boosting.ts';
import { resolveTrainingConfig } from '../../src/training/config.ts';
import { flattenTrees } from '../../src/training/flatten-trees.ts';
import { makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { synthesize } from './train/data.ts';

/** Trees and leaves that a detector of a real site has, on few rows: what it decides is of no matter here. */
const SHAPE = { name: 'served', rows: 40_000, testRows: 8_192, columns: 40, classes: 2 };
const ROUNDS = 100;
const LEAVES = 63;

/** What was trained, as the registry takes it, and rows that it has not seen. */
export interface ServedCandidate {
  readonly candidate: Candidate;
  readonly model: BoostedModel;
  readonly values: Float32Array;
  readonly rows: number;
}

/** 100 trees with 63 leaves on 40 columns. */
export async function trainServedModel(folder: string): Promise<ServedCandidate> {
  const { path, rows, testRows, columns } = synthesize(folder, SHAPE, { seed: 1, sharpness: 6 });
  const file = readFileSync(`${path}.f32`);
  const values = new Float32Array(file.buffer, file.byteOffset, (rows + testRows) * columns);
  const labels = readFileSync(`${path}.u8`).subarray(0, rows);
  const numbers = new Array<number>(columns).fill(0);
  const all = Uint32Array.from({ length: rows }, (_, r) => r);
  const binning = fitBinning(values, columns, all, numbers, 256);
  const config = resolveTrainingConfig({
    ...{
      rounds: ROUNDS,
      maxLeaves: LEAVES,
      rowFraction: 1,
      featureFraction: 1,
      treeRounds: 13,
      l2: 0,
      patience: 0,
    },
  });
  const binned = encodeRows(binning, values, columns, all);
  const trees = await boost({ binned, labels }, { config, seed: 1 });
  const names = numbers.map((_, c) => `c${c}`);
  const schemaBytes = Buffer.from(canonicalJson(schemaOf(names)));
  const model = new BoostedModel({
    ...{ schemaId: sha256(schemaBytes), sourceKinds: ['packets'], kinds: [], threshold: 0.5 },
    columns: names.map((name) => ({ name, categories: 0 })),
    bias: trees.bias[0] as number,
    detector: flattenTrees(trees.trees, binning),
    calibration: { kind: 'platt', slope: 1, intercept: 0 },
    statistics: fitStatistics(values.subarray(0, 100 * columns), 100, numbers, [0]),
  });
  const modelBytes = encodeModel(model);
  const sample = makeCandidate({});
  const gateReport = { ...sample.gateReport, modelDigest: sha256(modelBytes) };
  const candidate = { ...sample, modelBytes, schemaBytes, gateReport };
  return { candidate, model, values: values.slice(rows * columns), rows: testRows };
}

/** The same as a verified model. */
export async function makeServedModel(
  folder: string,
): Promise<{ readonly verified: VerifiedModel; readonly values: Float32Array; readonly rows: number }> {
  const { candidate, values, rows } = await trainServedModel(folder);
  const house = await openHouse(folder, new ManualClock());
  try {
    await house.registry.publish(candidate, { principal: 'bench' });
    const verified = await house.registry.verify('flow@1.0.0');
    return { verified, values, rows };
  } finally {
    await house.close();
  }
}

function schemaOf(names: readonly string[]): FeatureSchema {
  return {
    ...{
      v: 1,
      name: 'served',
      version: 1,
      kind: 'table',
      about: 'Made-up numbers.',
      sourceKinds: ['packets'],
    },
    columns: names.map((name) => ({
      ...{ name, type: 'number', unit: 'none', transform: 'none', range: [-1e9, 1e9] },
      ...{ invalid: 'reject', missing: 'refuse', about: 'A made-up number.' },
    })),
    table: {
      header: true,
      cells: [...names, 'label'],
      label: 'label',
      normal: ['0'],
      drop: [],
      missingText: [],
    },
  };
}
