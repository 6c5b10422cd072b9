import type { LabelledTable } from './labelled-table.ts';

/** The best that one column can do by itself. */
export interface Stump {
  readonly column: number;
  readonly accuracy: number;
  /** Number: values at or below it are on one side. Category: absent, each category votes. */
  readonly threshold?: number;
}

export interface StumpOptions {
  /** Weighs both classes alike, so that a rare class cannot be ignored: accuracy becomes balanced accuracy. */
  readonly balanced: boolean;
  /** Number of categories of each column, 0 for a number; absent means all are numbers. */
  readonly categories?: readonly number[];
}

/**
 * The best rule on a single column: for a number one threshold, either way round, missing on the better side; for
 * a category the better label for each. Not held out: an upper bound on what a rule of this form could do, which
 * says how easy a data set is (D'hooge, 2023). O(columns rows log rows).
 */
export function trainStump(table: LabelledTable, options: Partial<StumpOptions> = {}): Stump {
  const { rows, columns, values, labels } = table;
  const attacks = labels.reduce((sum, label) => sum + label, 0);
  const counts = { attack: Math.max(1, attacks), benign: Math.max(1, rows - attacks) };
  const weigh = options.balanced === true;
  const weights = [
    weigh ? 0.5 / counts.benign : 1 / Math.max(1, rows),
    weigh ? 0.5 / counts.attack : 1 / Math.max(1, rows),
  ] as const;
  let best: Stump = { column: 0, accuracy: 0 };
  const column = new Float32Array(rows);
  for (let c = 0; c < columns; c++) {
    for (let r = 0; r < rows; r++) column[r] = values[r * columns + c] as number;
    const isCategory = (options.categories?.[c] ?? 0) > 0;
    const found = isCategory ? voteByCategory(column, labels, weights) : bestCut(column, labels, weights);
    if (found.accuracy > best.accuracy) best = { column: c, ...found };
  }
  return best;
}

type ClassWeights = readonly [number, number];

function bestCut(column: Float32Array, labels: Uint8Array, weights: ClassWeights) {
  const order = Uint32Array.from(column.keys())
    .filter((r) => !Number.isNaN(column[r]))
    .sort((a, b) => (column[a] as number) - (column[b] as number));
  const present: [number, number] = [0, 0];
  const missing: [number, number] = [0, 0];
  labels.forEach((label, r) => {
    (Number.isNaN(column[r]) ? missing : present)[label as 0 | 1] += weights[label as 0 | 1];
  });
  const ofMissing = Math.max(...missing);
  let accuracy = Math.max(...present) + ofMissing;
  let threshold = Number.NEGATIVE_INFINITY;
  const below: [number, number] = [0, 0];
  order.forEach((r, i) => {
    const label = labels[r] as 0 | 1;
    below[label] += weights[label];
    const next = order[i + 1];
    if (next === undefined || column[next] === column[r]) return;
    const attackAbove = below[0] + present[1] - below[1];
    const attackBelow = below[1] + present[0] - below[0];
    const here = Math.max(attackAbove, attackBelow) + ofMissing;
    if (here > accuracy) {
      accuracy = here;
      threshold = column[r] as number;
    }
  });
  return { accuracy, threshold };
}

function voteByCategory(column: Float32Array, labels: Uint8Array, weights: ClassWeights) {
  const votes = new Map<string, [number, number]>();
  labels.forEach((label, r) => {
    const key = String(column[r]);
    const vote = votes.get(key) ?? [0, 0];
    vote[label as 0 | 1] += weights[label as 0 | 1];
    votes.set(key, vote);
  });
  let accuracy = 0;
  for (const vote of votes.values()) accuracy += Math.max(...vote);
  return { accuracy };
}
