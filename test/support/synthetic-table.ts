import type { Digest } from '../../src/base/index.ts';
import { SeededRandom } from '../../src/base/index.ts';
import { checkSchema, type LoadedSchema } from '../../src/features/index.ts';

/** A labelled table that no single column explains: two interacting numbers, a category, noise, missing values. */
export interface SyntheticTable {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
  readonly labels: Uint8Array;
  readonly typeIndex: Uint16Array;
  readonly typeNames: readonly string[];
  readonly digest: Digest;
}

export const SERVICES = ['http', 'dns', 'ssh', 'smtp', 'ntp', 'ftp'];

const number = (name: string) => ({
  name,
  type: 'number',
  unit: 'none',
  transform: 'none',
  range: [-1000, 1000],
  invalid: 'reject',
  missing: 'keep',
  about: 'synthetic',
});

export const SYNTHETIC_SCHEMA: LoadedSchema = checkSchema({
  v: 1,
  name: 'synthetic',
  version: 1,
  kind: 'table',
  about: 'For tests.',
  sourceKinds: ['table'],
  columns: [
    number('a'),
    number('b'),
    {
      name: 'service',
      type: 'category',
      unit: 'none',
      transform: 'none',
      categories: SERVICES,
      invalid: 'reject',
      missing: 'keep',
      about: 'synthetic',
    },
    number('noise'),
    number('constant'),
  ],
  table: {
    header: true,
    cells: ['a', 'b', 'service', 'noise', 'constant', 'label'],
    label: 'label',
    normal: ['normal'],
    drop: [],
    missingText: [],
  },
});

/** `rows` rows by seed; types: benign, flood (a and b of one sign), tunnel (service dns or ssh and b high). */
export function syntheticTable(rows: number, seed: number): SyntheticTable {
  const random = new SeededRandom(seed);
  const columns = 5;
  const values = new Float32Array(rows * columns);
  const labels = new Uint8Array(rows);
  const typeIndex = new Uint16Array(rows);
  for (let r = 0; r < rows; r++) {
    const a = random.uniform(-1, 1);
    const b = random.uniform(-1, 1);
    const service = random.integer(0, SERVICES.length - 1);
    let type = a * b > 0.1 ? 1 : (service === 1 || service === 2) && b > 0.3 ? 2 : 0;
    if (random.chance(0.03)) type = random.integer(0, 2);
    values[r * columns] = random.chance(0.05) ? Number.NaN : a;
    values[r * columns + 1] = b;
    values[r * columns + 2] = service;
    values[r * columns + 3] = random.uniform(-2, 2);
    values[r * columns + 4] = 7;
    labels[r] = type === 0 ? 0 : 1;
    typeIndex[r] = type;
  }
  return {
    rows,
    columns,
    values,
    labels,
    typeIndex,
    typeNames: ['benign', 'flood', 'tunnel'],
    digest: `sha256:${'0'.repeat(64)}`,
  };
}
