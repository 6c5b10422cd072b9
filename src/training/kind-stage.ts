import type { KindStage } from '../models/index.ts';
import { type BinnedRows, selectBinnedRows } from './binning.ts';
import { boost } from './boosting.ts';
import type { TrainingSteps } from './checkpoint/training-steps.ts';
import type { TrainingConfig } from './config.ts';
import { TrainingError } from './errors.ts';
import { flattenTrees } from './flatten-trees.ts';
import type { GrownTree } from './grow-tree.ts';

export interface TrainedKinds {
  readonly kinds: readonly string[];
  readonly stage: KindStage;
}

/** What the kind stage learns from: the training part, binned. */
export interface KindRows {
  readonly binned: BinnedRows;
  readonly labels: Uint8Array;
  readonly typeIndex: Uint16Array;
  readonly typeNames: readonly string[];
}

/**
 * Trains the stage that names attacks: one softmax over the kinds with enough rows, on their rows alone; benign rows take
 * no part, the detector has dealt with them. Undefined where no kind has enough rows; a single kind is named as it is.
 */
export async function trainKinds(
  rows: KindRows,
  config: TrainingConfig,
  run: {
    readonly seed: number;
    readonly threads?: number | undefined;
    readonly steps?: TrainingSteps | undefined;
  },
): Promise<TrainedKinds | undefined> {
  const attacks = Uint32Array.from(rows.labels.keys()).filter((r) => rows.labels[r] === 1);
  const counts = new Uint32Array(rows.typeNames.length);
  for (const r of attacks) counts[rows.typeIndex[r] as number]! += 1;
  const types = [...counts.keys()].filter((type) => (counts[type] as number) >= config.minKindRows);
  if (types.length === 0) return undefined;
  const kinds = types.map((type) => rows.typeNames[type] as string);
  if (types.length > 256) {
    throw new TrainingError('training.config-invalid', `${types.length} kinds to name, expected 256 at most`);
  }
  const named = attacks.filter((r) => types.includes(rows.typeIndex[r] as number));
  const kindConfig = {
    ...config,
    rounds: config.kindRounds,
    maxLeaves: config.kindMaxLeaves,
    patience: 0,
    monotone: {},
  };
  const { binning } = rows.binned;
  if (types.length === 1) {
    return { kinds, stage: { biases: [0], treeCounts: [0], ensemble: flattenTrees([], binning) } };
  }
  const labels = Uint8Array.from(named, (r) => types.indexOf(rows.typeIndex[r] as number));
  const { trees, bias } = await boost(
    { binned: selectBinnedRows(rows.binned, named), labels },
    {
      seed: run.seed,
      threads: run.threads,
      config: kindConfig,
      classes: types.length,
      ...run.steps?.boosting('kinds'),
    },
  );
  // Of two kinds the first has no trees: its margin is 0.
  if (types.length === 2) {
    const biases = [0, bias[0] as number];
    return {
      kinds,
      stage: { biases, treeCounts: [0, trees.length], ensemble: flattenTrees(trees, binning) },
    };
  }
  const byKind: GrownTree[] = types.flatMap((_, k) => trees.filter((_, t) => t % types.length === k));
  const treeCounts = types.map(() => trees.length / types.length);
  return { kinds, stage: { biases: [...bias], treeCounts, ensemble: flattenTrees(byKind, binning) } };
}
