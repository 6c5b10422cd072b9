import { orderKey } from '../../features/index.ts';
import { BITSET_WORDS, CATEGORICAL, MISSING_LEFT, type TreeEnsemble } from '../../models/index.ts';

/** Trees that add up to one number. */
export interface TreeHead {
  readonly firstTree: number;
  readonly endTree: number;
}

/** An ensemble as `TREES_SHADER` reads it. */
export interface PackedTrees {
  /**
   * Uint32Array, 4 words a node. Inner: order key of the threshold, or first word of the bitset; column and flags in the
   * upper half; left child. Leaf: the low and, in the last word, the high half of its fixed-point value; 0 for the child.
   */
  readonly nodes: Uint32Array<ArrayBuffer>;
  /** Uint32Array: of each head its first tree and its end, then the roots. */
  readonly roots: Uint32Array<ArrayBuffer>;
  readonly bitsets: Uint32Array<ArrayBuffer>;
  readonly heads: number;
  /** What one unit of a fixed-point sum is worth: a power of two. */
  readonly unit: number;
  /** How far a sum, `bias` included, may lie from the one that `addMargins` gives. */
  readonly tolerance: number;
}

/** Magnitudes of sums stay below 2^62 units, so that no partial sum overflows. */
const SUM_BITS = 62;
const EPSILON = 2 ** -53;

/**
 * Packs an ensemble for a device that knows no float64. Leaves become whole numbers of 64 bits, so that sums are exact, whatever their
 * order; what is left is the rounding of the CPU's own sum (Higham 2002, 4.2) and of leaves far smaller than the largest.
 */
export function packTrees(ensemble: TreeEnsemble, heads: readonly TreeHead[], bias: number): PackedTrees {
  const { roots, child, feature, value, flags, block, bitsets } = ensemble;
  const largest = sumOfLargest(ensemble);
  const shift = SUM_BITS - 1 - Math.max(-900, Math.ceil(Math.log2(Math.max(largest, Number.MIN_VALUE))));
  const nodes = new Uint32Array(Math.max(1, child.length) * 4);
  const wide = new DataView(nodes.buffer);
  for (let n = 0; n < child.length; n++) {
    const at = n * 4;
    const left = child[n] as number;
    if (left === 0) {
      const fixed = toFixed(value[n] as number, shift);
      nodes[at] = Number(fixed & 0xffffffffn);
      nodes[at + 3] = Number((fixed >> 32n) & 0xffffffffn);
      continue;
    }
    const flag = flags[n] as number;
    if ((flag & CATEGORICAL) !== 0) nodes[at] = (block[n] as number) * BITSET_WORDS;
    else {
      wide.setFloat32(at * 4, value[n] as number, true);
      nodes[at] = orderKey(wide.getUint32(at * 4, true));
    }
    nodes[at + 1] = (feature[n] as number) | (flag << 16);
    nodes[at + 2] = left;
  }
  const trees = Math.max(0, ...heads.map(({ firstTree, endTree }) => endTree - firstTree));
  return {
    nodes,
    roots: Uint32Array.from([...heads.flatMap(({ firstTree, endTree }) => [firstTree, endTree]), ...roots]),
    bitsets: Uint32Array.from(bitsets.length > 0 ? bitsets : [0]),
    heads: heads.length,
    unit: 2 ** -shift,
    tolerance: (trees + 2) * (EPSILON * (largest + Math.abs(bias)) + 2 ** -(shift + 1)),
  };
}

/** Words of a fixed-point sum as a number: rounded once. */
export function fromFixed(low: number, high: number, unit: number): number {
  return ((high | 0) * 2 ** 32 + low) * unit;
}

/** At least what any sum of one leaf a tree comes to. */
function sumOfLargest({ roots, child, value }: TreeEnsemble): number {
  let sum = 0;
  for (let t = 0; t < roots.length; t++) {
    let largest = 0;
    for (let n = roots[t] as number; n < (roots[t + 1] ?? child.length); n++) {
      if (child[n] === 0) largest = Math.max(largest, Math.abs(value[n] as number));
    }
    sum += largest;
  }
  return sum;
}

/** A float32 times 2^shift, to the nearest whole number. */
function toFixed(value: number, shift: number): bigint {
  // Its 24 bits are a whole number at this exponent, however small the value.
  const exponent = value === 0 ? 0 : Math.max(-149, Math.floor(Math.log2(Math.abs(value))) - 24);
  const whole = BigInt(value * 2 ** -exponent);
  const by = shift + exponent;
  if (by >= 0) return whole << BigInt(by);
  const half = 1n << BigInt(-by - 1);
  return (whole + half) >> BigInt(-by);
}

/** For the shader's text. */
export const FLAG_BITS = { categorical: CATEGORICAL << 16, missingLeft: MISSING_LEFT << 16 } as const;
