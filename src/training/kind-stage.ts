import type { KindStage } from '../models/index.ts';
import { type BinnedRows, type Binning, selectBinnedRows } from './binning.ts';
import { boost } from './boosting.ts';
import type { TrainingConfig } from './config.ts';
import { flattenTrees } from './flatten-trees.ts';
import type { GrownTree } from './tree-learner.ts';

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
 * Trains the stage that names attacks: for each kind with enough rows a small ensemble, that kind against all other
 * attack rows; benign rows take no part, the detector has dealt with them. Undefined where fewer than two kinds have
 * enough rows and nothing could be told apart, except that a single kind is named as it is.
 */
export async function trainKinds(
  rows: KindRows,
  config: TrainingConfig,
  seed: number,
): Promise<TrainedKinds | undefined> {
  const attacks = Uint32Array.from(rows.labels.keys()).filter((r) => rows.labels[r] === 1);
  const counts = new Uint32Array(rows.typeNames.length);
  for (const r of attacks) counts[rows.typeIndex[r] as number]! += 1;
  const types = [...counts.keys()].filter((type) => (counts[type] as number) >= config.minKindRows);
  if (types.length === 0) return undefined;
  const binned = selectBinnedRows(rows.binned, attacks);
  const kindConfig = {
    ...config,
    rounds: config.kindRounds,
    maxLeaves: config.kindMaxLeaves,
    patience: 0,
  };
  const trees: GrownTree[] = [];
  const biases: number[] = [];
  const treeCounts: number[] = [];
  for (const type of types) {
    const labels = Uint8Array.from(attacks, (r) => (rows.typeIndex[r] === type ? 1 : 0));
    const boosted = await boost({ binned, labels }, { config: kindConfig, seed });
    trees.push(...boosted.trees);
    biases.push(boosted.bias);
    treeCounts.push(boosted.trees.length);
  }
  const binning: Binning = rows.binned.binning;
  return {
    kinds: types.map((type) => rows.typeNames[type] as string),
    stage: { biases, treeCounts, ensemble: flattenTrees(trees, binning) },
  };
}
