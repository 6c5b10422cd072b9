import type { BinnedRows } from '../binning.ts';
import type { GrownTree } from '../grow-tree.ts';
import type { Split } from '../split.ts';

/**
 * Adds what a tree says of each row to its margins, in the very additions of the round that grew it, so that later rounds
 * see the same bits. Margins: Float64Array, one a row.
 */
export function addGrownTree(
  { child, split, value }: GrownTree,
  { bins, rows }: BinnedRows,
  margins: Float64Array,
): void {
  for (let r = 0; r < rows; r++) {
    let node = 0;
    for (let left = child[0] as number; left !== 0; left = child[node] as number) {
      const cut = split[node] as Split;
      node = cut.left[bins[cut.feature * rows + r] as number] === 1 ? left : left + 1;
    }
    margins[r] = (margins[r] as number) + (value[node] as number);
  }
}
