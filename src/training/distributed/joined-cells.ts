import type { Binning } from '../binning.ts';
import type { LeafState } from '../histogram-source.ts';

/**
 * Leaves that part one whole, with neighbouring cells of each column joined until each leaf's share of a cell is empty or
 * holds `least` levels of hessian; what is left over joins the cell before. The sums of a column stay what they are, unless the
 * leaf as a whole has too little: then it is not released at all. Both leaves are joined alike, so that neither their sum nor
 * their difference tells of a smaller cell. Arrays are copies.
 */
export function joinCells(
  states: readonly LeafState[],
  { columns, offsets }: Binning,
  least: number,
): LeafState[] {
  const plane = offsets[columns.length] as number;
  const joined = states.map(({ rows, histogram }) => ({ rows, histogram: new Int32Array(histogram.length) }));
  columns.forEach((_, f) => {
    const to = offsets[f + 1] as number;
    /** Where the last cell was released; -1: none. */
    let last = -1;
    const sums = states.map(() => ({ g: 0, h: 0 }));
    const isFull = () =>
      sums.some(({ h }) => h > 0) && sums.every(({ g, h }) => (h === 0 && g === 0) || h >= least);
    const release = (at: number) => {
      joined.forEach(({ histogram }, s) => {
        const sum = sums[s] as { g: number; h: number };
        histogram[at] = (histogram[at] as number) + sum.g;
        histogram[plane + at] = (histogram[plane + at] as number) + sum.h;
        sum.g = 0;
        sum.h = 0;
      });
      last = at;
    };
    for (let i = offsets[f] as number; i < to; i++) {
      states.forEach(({ histogram }, s) => {
        const sum = sums[s] as { g: number; h: number };
        sum.g += histogram[i] as number;
        sum.h += histogram[plane + i] as number;
      });
      if (isFull()) release(i);
    }
    if (last !== -1) release(last);
  });
  return joined.map((state, s) => {
    const { rows, histogram } = states[s] as LeafState;
    let all = 0;
    for (let i = offsets[0] as number; i < (offsets[1] ?? 0); i++) all += histogram[plane + i] as number;
    if (all >= least) return state;
    return { rows: rows === 0 || columns.length > 0 ? 0 : rows, histogram: new Int32Array(histogram.length) };
  });
}
