import { z } from 'zod';
import { type Binning, type ColumnBins, layOut } from '../binning.ts';
import { runScales } from '../boosting.ts';
import type { TrainingConfig } from '../config.ts';
import { TrainingError } from '../errors.ts';
import { MAX_WEIGHT } from '../labelled-table.ts';
import { refused } from './message.ts';

/** Bins and rows that one sum may hold: beyond it a 32-bit sum of levels could turn over. */
const MAX_LEVELS = 2 ** 31 - 1;

/** Weight of all rows at most: exact sums are 2^20 a unit, and count what is above their low 22 bits in 32. */
const MAX_WEIGHT_SUM = 2 ** 33 - 1024;

const count = z.int().min(0).max(0xffffffff);

const columnSchema = z.strictObject({
  column: z.int().min(0).max(65_535),
  bins: z.int().min(2).max(256),
  cuts: z.array(z.number()).max(255),
  categories: z.array(z.int().min(0).max(255)).max(255).optional(),
  fill: z.int().min(1).max(255).optional(),
});

export const planSchema = z.strictObject({
  v: z.literal(1),
  run: z.string().regex(/^[a-z0-9][a-z0-9-]{0,47}$/),
  columns: z.array(columnSchema).max(65_536),
  /** 1 for two classes, else their number. */
  outputs: z.int().min(1).max(256),
  bias: z.array(z.number().min(-10).max(10)),
  maxWeight: z.number().positive().max(MAX_WEIGHT),
  gradientLevels: z.int().min(2).max(127),
  maxLeaves: z.int().min(2).max(1024),
  rowFraction: z.number().positive().max(1),
  seed: count,
  /** Rows to train on, and rows that early stopping watches, of all shards. */
  rows: count,
  heldRows: count,
  /** Rows of one member in a released cell at least; 1 releases sums as they are. */
  minCellRows: z.int().min(1).max(1024),
});

/** What everyone who holds rows of a run has to know. Made by the coordinator; workers check and never trust it. */
export type RunPlan = Readonly<z.output<typeof planSchema>>;

/** Throws `training.config-invalid` where leaves want sums that shards do not give: theirs are exact. */
export function checkLeafSums({ leafSums }: Pick<TrainingConfig, 'leafSums'>): void {
  if (leafSums !== 'rounded') return;
  throw new TrainingError(
    'training.config-invalid',
    `leafSums: rows that lie with others give exact sums, not ${leafSums}`,
  );
}

/** The binning of a plan. Throws `training.message-refused` where columns are not as `fitBinning` makes them. */
export function planBinning(plan: RunPlan): Binning {
  const columns = plan.columns.map(({ column, bins, cuts, categories, fill }): ColumnBins => {
    const values = categories?.length ?? cuts.length + 1;
    const isAscending = (list: readonly number[]) =>
      list.every((x, i) => i === 0 || x > (list[i - 1] as number));
    if (bins !== values + 1 || (fill ?? 0) >= bins || !isAscending(cuts) || !isAscending(categories ?? [])) {
      throw refused(`column ${column} of the plan is not cut into ${bins} bins`);
    }
    return {
      ...{ column, bins, cuts: Float32Array.from(cuts) },
      ...(categories !== undefined && { categories: Uint16Array.from(categories) }),
      ...(fill !== undefined && { fill }),
    };
  });
  // A column named over and over would take the memory of many.
  if (columns.some(({ column }, i) => i > 0 && column <= (columns[i - 1] as ColumnBins).column)) {
    throw refused('the columns of the plan are not each named once, in order');
  }
  return layOut(columns);
}

/**
 * Scales of a plan's levels, from its weights and levels alone, so that no gradient is beyond `gradientLevels`: this is how
 * what one row adds to a sum is bounded. Throws `training.message-refused` where sums could turn over.
 */
export function planScales(plan: RunPlan) {
  if (plan.rows * plan.gradientLevels > MAX_LEVELS) {
    throw refused(`${plan.rows} rows of ${plan.gradientLevels} levels do not fit a 32-bit sum`);
  }
  if (plan.rows * plan.maxWeight > MAX_WEIGHT_SUM) {
    throw refused(`${plan.rows} rows of weight ${plan.maxWeight} do not fit an exact sum`);
  }
  if (plan.bias.length !== plan.outputs) throw refused('the plan has not one base margin an output');
  return runScales(plan.gradientLevels, plan.maxWeight, plan.outputs);
}

/** Columns of a binning as a plan names them. */
export function planColumns({ columns }: Binning): RunPlan['columns'] {
  return columns.map(({ column, bins, cuts, categories, fill }) => ({
    ...{ column, bins, cuts: [...cuts] },
    ...(categories !== undefined && { categories: [...categories] }),
    ...(fill !== undefined && { fill }),
  }));
}
