import type { SeededRandom } from '../../base/index.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import { replaceBlocks } from './block-replacement.ts';

export interface ExposureOptions {
  readonly blocks: readonly (readonly number[])[];
  /** Made-up rows for each normal one, and the weight of each. */
  readonly exposure: number;
  readonly exposureWeight: number;
}

/** These rows of a table, and behind them made-up rows labelled as attack, of low weight. */
export function exposeTable(
  table: LabelledTable,
  rows: Uint32Array,
  options: ExposureOptions,
  random: SeededRandom,
): LabelledTable {
  const real = selectRows(table, rows);
  const normals = rows.filter((r) => table.labels[r] === 0);
  const count = Math.round(normals.length * options.exposure);
  const made = replaceBlocks(table.values, table.columns, normals, options.blocks, count, random);
  const total = real.rows + count;
  const values = new Float32Array(total * table.columns);
  values.set(real.values);
  values.set(made, real.values.length);
  const labels = new Uint8Array(total).fill(1);
  labels.set(real.labels);
  const typeIndex = new Uint16Array(total).fill(table.typeNames.length);
  typeIndex.set(real.typeIndex);
  const weights = new Float32Array(total).fill(options.exposureWeight);
  weights.set(real.weights ?? new Float32Array(real.rows).fill(1));
  return {
    rows: total,
    columns: table.columns,
    values,
    labels,
    typeIndex,
    typeNames: [...table.typeNames, 'made up'],
    weights,
    ...(table.digest && { digest: table.digest }),
  };
}
