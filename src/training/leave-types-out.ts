import { SeededRandom } from '../base/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import type { BinaryMetrics } from '../models/index.ts';
import type { TrainingConfig } from './config.ts';
import { TrainingError } from './errors.ts';
import { evaluateModel } from './evaluate.ts';
import { type LabelledTable, selectRows } from './labelled-table.ts';
import { trainModel } from './train-model.ts';

/** How a configuration did on attack types that its training never saw. */
export interface UnseenTypesFold {
  readonly types: readonly string[];
  readonly trainRows: number;
  /** On the rows of these types and the fold's share of benign rows. */
  readonly metrics: BinaryMetrics;
  /** Mean over the types of the share of their rows that was detected: each type counts alike. */
  readonly meanTypeRecall: number;
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
}

/**
 * Cross-validation over attack types: each fold trains without some whole types and without its share of the benign
 * rows, and is measured on exactly these. The way to choose settings without a test file, since a test file holds
 * types that training did not.
 */
export async function leaveTypesOut(input: LeaveTypesOutInput): Promise<UnseenTypesValidation> {
  const { table, schema, config, seed, folds } = input;
  const foldOf = assignFolds(table, folds, seed);
  const results: UnseenTypesFold[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const held: number[] = [];
    const kept: number[] = [];
    for (let r = 0; r < table.rows; r++) (foldOf[r] === fold ? held : kept).push(r);
    const { model } = await trainModel({
      table: selectRows(table, kept),
      schema,
      sourceKinds: [],
      ...(config && { config }),
      seed,
    });
    const { metrics, kinds } = evaluateModel(model, selectRows(table, held));
    results.push({
      types: kinds.map(({ kind }) => kind),
      trainRows: kept.length,
      metrics,
      meanTypeRecall: mean(kinds.map(({ detected }) => detected.value)),
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

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, v) => sum + v, 0) / values.length;
}
