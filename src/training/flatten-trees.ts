import { BITSET_WORDS, CATEGORICAL, MISSING_LEFT, type TreeEnsemble } from '../models/index.ts';
import { type Binning, type ColumnBins, MISSING_BIN } from './binning.ts';
import type { GrownTree } from './grow-tree.ts';
import type { Split } from './split.ts';

/** Writes grown trees as the flat arrays of a model: bins become thresholds and categories again. */
export function flattenTrees(trees: readonly GrownTree[], binning: Binning): TreeEnsemble {
  const nodes = trees.reduce((sum, tree) => sum + tree.child.length, 0);
  const roots = new Uint32Array(trees.length);
  const child = new Uint32Array(nodes);
  const feature = new Uint16Array(nodes);
  const value = new Float32Array(nodes);
  const flags = new Uint8Array(nodes);
  const block = new Uint32Array(nodes);
  const cover = new Uint32Array(nodes);
  const bitsets: number[] = [];
  let start = 0;
  trees.forEach((tree, t) => {
    roots[t] = start;
    for (let i = 0; i < tree.child.length; i++) {
      const n = start + i;
      const split = tree.split[i];
      cover[n] = tree.cover[i] as number;
      if (split === undefined) {
        value[n] = tree.value[i] as number;
        continue;
      }
      const column = binning.columns[split.feature] as ColumnBins;
      child[n] = start + (tree.child[i] as number);
      feature[n] = column.column;
      flags[n] = isMissingLeft(split, column) ? MISSING_LEFT : 0;
      if (column.categories === undefined) {
        // Left of the open last bin lies every number; only what is missing goes right.
        const cut = column.cuts[split.lastLeft - 1];
        value[n] = cut ?? LARGEST_FLOAT32;
      } else {
        flags[n] = (flags[n] as number) | CATEGORICAL;
        block[n] = bitsets.length / BITSET_WORDS;
        bitsets.push(...bitsetOf(split, column));
      }
    }
    start += tree.child.length;
  });
  return { roots, child, feature, value, flags, block, cover, bitsets: Uint32Array.from(bitsets) };
}

const LARGEST_FLOAT32 = 3.4028234663852886e38;

/** What is imputed goes where the value goes that it counts as. */
function isMissingLeft({ left }: Split, { fill = MISSING_BIN }: ColumnBins): boolean {
  return left[fill] === 1;
}

/** Categories that training never saw go where missing goes. */
function bitsetOf(split: Split, column: ColumnBins): Uint32Array {
  const words = new Uint32Array(BITSET_WORDS).fill(isMissingLeft(split, column) ? 0xffffffff : 0);
  column.categories?.forEach((category, i) => {
    const bit = 1 << (category & 31);
    const word = words[category >> 5] as number;
    words[category >> 5] = split.left[i + 1] === 1 ? word | bit : word & ~bit;
  });
  return words;
}
