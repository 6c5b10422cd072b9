import { SeededRandom } from '../base/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import { type BinaryMetrics, binaryMetrics, type OperatingPointName } from '../models/index.ts';
import type { TrainingConfig } from './config.ts';
import { TrainingError } from './errors.ts';
import { evaluateModel } from './evaluate.ts';
import { type LabelledTable, selectRows } from './labelled-table.ts';
import { trainDetector } from './train-detector.ts';

/** How a configuration did on attack types that its training never saw. */
export interface UnseenTypesFold {
  readonly types: readonly string[];
  readonly trainRows: number;
  /** On the rows of these types and the fold's share of benign rows. */
  readonly metrics: BinaryMetrics;
  /** Mean over the types of the share of their rows that was detected: each type counts alike. */
  readonly meanTypeRecall: number;
  /** At each operating point of the model; empty for trees alone. */
  readonly points: readonly { readonly name: OperatingPointName; readonly metrics: BinaryMetrics }[];
}

export interface UnseenTypesValidation {
  readonly folds: readonly UnseenTypesFold[];
  readonly meanAuc: number;
  readonly meanRecall: number;
  readonly meanTypeRecall: number;
  readonly meanFpr: number;
}

export interface LeaveTypesOutInput {
  readonly table: LabelledTable;
  readonly schema: LoadedSchema;
  readonly config?: Partial<TrainingConfig>;
  readonly seed: number;
  readonly folds: number;
  /** Folds of whole categories of attack types in place of dealt types: the category of each type by its name. */
  readonly categoryOf?: Readonly<Record<string, string>>;
  /** In each fold, a drawn third of this column's categories keeps only this share of its benign training rows. */
  readonly thinned?: { readonly column: string; readonly keep: number };
}

/**
 * Cross-validation over attack types: each fold trains without some whole types and without its share of the benign
 * rows, and is measured on exactly these. The way to choose settings without a test file, since a test file holds
 * types that training did not.
 */
export async function leaveTypesOut(input: LeaveTypesOutInput): Promise<UnseenTypesValidation> {
  const { table, schema, config, seed, categoryOf } = input;
  const categories = [...new Set(Object.values(categoryOf ?? {}))].sort();
  const folds = categoryOf === undefined ? input.folds : categories.length;
  const foldOf =
    categoryOf === undefined
      ? assignFolds(table, folds, seed)
      : assignCategories(table, categoryOf, categories, seed);
  const results: UnseenTypesFold[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const held: number[] = [];
    const kept: number[] = [];
    for (let r = 0; r < table.rows; r++) (foldOf[r] === fold ? held : kept).push(r);
    const { model } = await trainDetector({
      table: selectRows(table, thin(kept, input, seed + fold)),
      schema,
      sourceKinds: [],
      ...(config && { config }),
      seed,
    });
    const measured = selectRows(table, held);
    const { metrics, kinds, probability } = evaluateModel(model, measured);
    results.push({
      types: kinds.map(({ kind }) => kind),
      trainRows: kept.length,
      metrics,
      meanTypeRecall: mean(kinds.map(({ detected }) => detected.value)),
      points: model.operatingPoints.map(({ name, threshold }) => ({
        name,
        metrics: binaryMetrics(probability, measured.labels, threshold),
      })),
    });
  }
  return {
    folds: results,
    meanAuc: mean(results.map(({ metrics }) => metrics.auc.value)),
    meanRecall: mean(results.map(({ metrics }) => metrics.recall.value)),
    meanTypeRecall: mean(results.map(({ meanTypeRecall }) => meanTypeRecall)),
    meanFpr: mean(results.map(({ metrics }) => metrics.fpr.value)),
  };
}

/**
 * The fold of each row: attack types dealt out whole, the largest first and each round in a drawn order, so that folds
 * are of mixed sizes; benign rows drawn one by one. Throws training.too-few-rows where there are fewer types than folds.
 */
export function assignFolds(table: LabelledTable, folds: number, seed: number): Uint8Array {
  const counts = new Map<number, number>();
  for (let r = 0; r < table.rows; r++) {
    if (table.labels[r] === 0) continue;
    const type = table.typeIndex[r] as number;
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  if (folds < 2 || folds > 255 || counts.size < folds) {
    throw new TrainingError(
      'training.too-few-rows',
      `expected at least ${folds} attack types, got ${counts.size}`,
    );
  }
  const random = new SeededRandom(seed);
  const bySize = [...counts].sort(([a, n], [b, m]) => m - n || a - b);
  const foldOfType = new Map<number, number>();
  let order: number[] = [];
  for (const [type] of bySize) {
    if (order.length === 0) order = random.shuffle(Array.from({ length: folds }, (_, f) => f));
    foldOfType.set(type, order.pop() as number);
  }
  return Uint8Array.from(table.labels, (label, r) =>
    label === 0 ? random.integer(0, folds - 1) : (foldOfType.get(table.typeIndex[r] as number) as number),
  );
}

/** The fold of each row: the place of its type's category; benign rows drawn one by one. */
function assignCategories(
  table: LabelledTable,
  categoryOf: Readonly<Record<string, string>>,
  categories: readonly string[],
  seed: number,
): Uint8Array {
  const foldOfType = table.typeNames.map((type) => categories.indexOf(categoryOf[type] ?? ''));
  const random = new SeededRandom(seed);
  return Uint8Array.from(table.labels, (label, r) => {
    const fold =
      label === 0 ? random.integer(0, categories.length - 1) : foldOfType[table.typeIndex[r] as number];
    if (fold === undefined || fold < 0) {
      throw new TrainingError('training.table-invalid', `row ${r} is of a type without a category`);
    }
    return fold;
  });
}

/** Benign rows of a drawn third of a column's categories, thinned: normal traffic that training hardly saw. */
function thin(
  rows: readonly number[],
  { table, schema, thinned }: LeaveTypesOutInput,
  seed: number,
): readonly number[] {
  if (thinned === undefined) return rows;
  const column = schema.schema.columns.findIndex(({ name }) => name === thinned.column);
  if (column === -1)
    throw new TrainingError('training.config-invalid', `there is no column ${thinned.column}`);
  const categoryAt = (r: number): number => table.values[r * table.columns + column] as number;
  const seen = [...new Set(rows.filter((r) => table.labels[r] === 0).map(categoryAt))].sort((a, b) => a - b);
  const random = new SeededRandom(seed);
  const drawn = new Set(random.shuffle(seen).slice(0, Math.round(seen.length / 3)));
  return rows.filter(
    (r) => table.labels[r] === 1 || !drawn.has(categoryAt(r)) || random.chance(thinned.keep),
  );
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, v) => sum + v, 0) / values.length;
}
