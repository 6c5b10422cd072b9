import type { SeededRandom } from '../../base/index.ts';
import type { BoostedModelParts } from '../../models/index.ts';
import type { TrainingConfig } from '../config.ts';
import { limitAttackTypes } from '../data-split.ts';
import { categoryCounts, type LabelledTable, selectRows } from '../labelled-table.ts';
import type { TrainModelInput } from '../train-model.ts';
import { measureCandidate } from './choose-candidate.ts';
import { exposeTable } from './exposed-table.ts';
import { featureBlocks } from './feature-blocks.ts';

export interface WindowsInput extends Pick<TrainModelInput, 'schema'> {
  /** With times. */
  readonly table: LabelledTable;
  /** Rows that may be fitted on. */
  readonly rows: Uint32Array;
  readonly config: TrainingConfig;
  readonly random: SeededRandom;
  /** Trains on a whole table. `run` counts from 0: two runs a window, the plain one first. */
  readonly train: (run: number, table: LabelledTable, seed: number) => Promise<BoostedModelParts>;
}

/** Rows of either label that a window has at least: below, balanced accuracy moves by whole hundredths. */
const LEAST_ROWS = 100;

/**
 * What exposure cost in the past: the highest fall of balanced accuracy, from trees without exposure to trees with it, over
 * windows of time, each measured by trees of the same size that end before it. The latest rows alone say too little:
 * where traffic drifts, exposure may cost nothing in one window and much in the next. 0 where no window can be measured.
 */
export async function exposureCost(input: WindowsInput): Promise<number> {
  const { table, rows, config, random, train } = input;
  const { hybrid, maxRowsPerAttackType } = config;
  const categories = categoryCounts(input.schema);
  const pieces = cutByTime(rows, table.times ?? [], hybrid.windows.count + 1);
  let highest = 0;
  for (let w = 1; w < pieces.length; w++) {
    const before = Uint32Array.from(pieces.slice(0, w).flatMap((piece) => [...piece])).sort();
    const window = selectRows(table, pieces[w] as Uint32Array);
    const known = selectRows(table, before);
    if (![known, window].every(isTelling)) continue;
    const seed = random.uint32();
    const draw = random.fork();
    const limited =
      maxRowsPerAttackType === 0 ? before : limitAttackTypes(table, before, maxRowsPerAttackType, seed);
    const normals = limited.filter((r) => table.labels[r] === 0);
    const blocks = featureBlocks(table, normals, categories);
    const plain = await train(2 * w - 2, known, seed);
    const exposed = await train(2 * w - 1, exposeTable(table, limited, { ...hybrid, blocks }, draw), seed);
    const [without = 0, withIt = 0] = [plain, exposed].map(
      (parts) => measureCandidate(parts, window, hybrid.falsePositiveRates).balancedAccuracy,
    );
    highest = Math.max(highest, without - withIt);
  }
  return highest;
}

/** Pieces of equal size, the earliest first, each ascending by row; rows of one time stay in their order. */
export function cutByTime(rows: Uint32Array, times: ArrayLike<number>, pieces: number): Uint32Array[] {
  const order = Uint32Array.from(rows).sort((a, b) => (times[a] as number) - (times[b] as number) || a - b);
  const cut = (piece: number): number => Math.floor((piece * order.length) / pieces);
  return Array.from({ length: pieces }, (_, i) => order.slice(cut(i), cut(i + 1)).sort());
}

function isTelling({ labels, rows }: LabelledTable): boolean {
  let attacks = 0;
  for (const label of labels) attacks += label;
  return Math.min(attacks, rows - attacks) >= LEAST_ROWS;
}
