import { SeededRandom } from '../base/index.ts';
import type { LabelledTable } from './labelled-table.ts';

/** Row numbers of the parts of a data set, each ascending; no row stands in two. */
export interface DataSplit {
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
  readonly calibration: Uint32Array;
}

export interface SplitShares {
  readonly validation: number;
  readonly calibration: number;
}

/**
 * Draws the held-out parts from each attack type (and from the benign rows) in proportion, by seed. A type with few
 * rows gives floor(share x rows), so the rarest stay whole in the training part.
 */
export function splitStratified(
  table: LabelledTable,
  rows: Uint32Array,
  shares: SplitShares,
  seed: number,
): DataSplit {
  const strata = new Map<number, number[]>();
  for (const r of rows) {
    const key = (table.typeIndex[r] as number) * 2 + (table.labels[r] as number);
    const stratum = strata.get(key);
    if (stratum === undefined) strata.set(key, [r]);
    else stratum.push(r);
  }
  const random = new SeededRandom(seed);
  const parts = { train: [] as number[], validation: [] as number[], calibration: [] as number[] };
  for (const [, stratum] of [...strata].sort(([a], [b]) => a - b)) {
    random.shuffle(stratum);
    const validation = Math.floor(stratum.length * shares.validation);
    const held = validation + Math.floor(stratum.length * shares.calibration);
    for (let i = 0; i < stratum.length; i++) {
      const part = i < validation ? parts.validation : i < held ? parts.calibration : parts.train;
      part.push(stratum[i] as number);
    }
  }
  return {
    train: Uint32Array.from(parts.train).sort(),
    validation: Uint32Array.from(parts.validation).sort(),
    calibration: Uint32Array.from(parts.calibration).sort(),
  };
}

/**
 * Holds the latest rows out: train, then validation, then calibration. `times` orders the rows; without it they count
 * as ordered already. Rows of one time stay in their order. For traffic where a random split would leak.
 */
export function splitByTime(
  rows: Uint32Array,
  shares: SplitShares,
  times?: ArrayLike<number> | undefined,
): DataSplit {
  const order = Uint32Array.from(rows);
  if (times !== undefined) order.sort((a, b) => (times[a] as number) - (times[b] as number) || a - b);
  const calibration = Math.floor(order.length * shares.calibration);
  const validation = Math.floor(order.length * shares.validation);
  const train = order.length - validation - calibration;
  return {
    train: order.slice(0, train).sort(),
    validation: order.slice(train, train + validation).sort(),
    calibration: order.slice(train + validation).sort(),
  };
}

/**
 * The first of every group of rows that are equal in all values and in label; ascending. Before a random split, or
 * copies of a training row would be held out. Missing equals missing. Equal rows with different labels both stay.
 */
export function distinctRows(table: LabelledTable): Uint32Array {
  const { rows, columns, values, labels } = table;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let size = 1024;
  while (size < rows * 2) size *= 2;
  const slots = new Uint32Array(size);
  const kept = new Uint32Array(rows);
  let count = 0;
  for (let r = 0; r < rows; r++) {
    let h = labels[r] as number;
    for (let i = r * columns; i < (r + 1) * columns; i++) {
      h = Math.imul(h ^ (bits[i] as number), 0x9e3779b1);
      h ^= h >>> 15;
    }
    let slot = Math.imul(h, 0x85ebca6b) & (size - 1);
    while (slots[slot] !== 0 && !sameRow(bits, labels, columns, (slots[slot] as number) - 1, r)) {
      slot = (slot + 1) & (size - 1);
    }
    if (slots[slot] !== 0) continue;
    slots[slot] = r + 1;
    kept[count++] = r;
  }
  return kept.slice(0, count);
}

function sameRow(bits: Uint32Array, labels: Uint8Array, columns: number, a: number, b: number): boolean {
  if (labels[a] !== labels[b]) return false;
  for (let c = 0; c < columns; c++) if (bits[a * columns + c] !== bits[b * columns + c]) return false;
  return true;
}

/** Draws at most `limit` rows of each attack type, by seed; benign rows all stay. Ascending. */
export function limitAttackTypes(
  table: LabelledTable,
  rows: Uint32Array,
  limit: number,
  seed: number,
): Uint32Array {
  const byType = new Map<number, number[]>();
  for (const r of rows) {
    if (table.labels[r] === 0) continue;
    const type = table.typeIndex[r] as number;
    const group = byType.get(type);
    if (group === undefined) byType.set(type, [r]);
    else group.push(r);
  }
  const dropped = new Set<number>();
  const random = new SeededRandom(seed);
  for (const [, group] of [...byType].sort(([a], [b]) => a - b)) {
    if (group.length <= limit) continue;
    for (const r of random.shuffle(group).slice(limit)) dropped.add(r);
  }
  return rows.filter((r) => !dropped.has(r));
}
