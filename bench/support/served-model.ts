import { ManualClock } from '../../src/base/index.ts';
import { canonicalJson, sha256 } from '../../src/crypto/index.ts';
import type { FeatureSchema } from '../../src/features/index.ts';
import { type BoostedModel, encodeModel } from '../../src/models/index.ts';
import type { Candidate, VerifiedModel } from '../../src/registry/index.ts';
import { makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { readValues, trainBoosted } from './train/boosted-model.ts';
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
  const data = synthesize(folder, SHAPE, { seed: 1, sharpness: 6 });
  const { rows, testRows, columns } = data;
  const values = readValues(data);
  const schemaBytes = Buffer.from(canonicalJson(schemaOf(columns)));
  const model = await trainBoosted(data, values, {
    ...{ rounds: ROUNDS, leaves: LEAVES, schemaId: sha256(schemaBytes), sourceKinds: ['packets'] },
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

function schemaOf(columns: number): FeatureSchema {
  const names = Array.from({ length: columns }, (_, c) => `c${c}`);
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
