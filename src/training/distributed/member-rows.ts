import { type Binning, encodeRows, type LabelledBins } from '../binning.ts';
import type { TrainingConfig } from '../config.ts';
import { distinctRows, limitAttackTypes } from '../data-split.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import { refused } from './message.ts';

/** Draws which rows of an attack type stay: a member's choice is its own, and the same each time. */
const SEED = 1;

/**
 * The rows that a member brings into a secure run: its own, once each, no more of an attack type than its configuration allows.
 * `encode` throws `training.message-refused` for a plan of columns that these rows do not have. Weights are cut down to
 * what the run allows here, before anything is said of them.
 */
export function memberRows(
  table: LabelledTable,
  { duplicates, maxRowsPerAttackType }: Pick<TrainingConfig, 'duplicates' | 'maxRowsPerAttackType'>,
): {
  readonly table: LabelledTable;
  readonly rows: number;
  readonly encode: (binning: Binning, maxWeight: number) => LabelledBins;
} {
  const kept = duplicates === 'drop' ? distinctRows(table) : Uint32Array.from(table.labels.keys());
  const chosen =
    maxRowsPerAttackType === 0 ? kept : limitAttackTypes(table, kept, maxRowsPerAttackType, SEED);
  const own = selectRows(table, chosen);
  const encode = (binning: Binning, maxWeight: number): LabelledBins => {
    const stranger = binning.columns.find(({ column }) => column >= own.columns);
    if (stranger !== undefined)
      throw refused(`expected columns below ${own.columns}, got ${stranger.column}`);
    const numbers = Uint32Array.from(own.labels.keys());
    const weights = (own.weights ?? new Float32Array(own.rows).fill(1)).map((w) => Math.min(w, maxWeight));
    return {
      binned: encodeRows(binning, own.values, own.columns, numbers),
      labels: own.labels,
      ...((own.weights !== undefined || maxWeight < 1) && { weights }),
    };
  };
  return { table: own, rows: own.rows, encode };
}
