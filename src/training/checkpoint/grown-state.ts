import type { GrownSoFar } from '../boosting.ts';
import type { GrownTree } from '../grow-tree.ts';
import type { Split } from '../split.ts';
import type { StepArrays } from './training-state.ts';

const LEFT_BYTES = 32;

/**
 * Trees as arrays, one entry a node or a split, without the loss of a bit; `left` as 256 bits, low bit first. In loops: it
 * runs over all trees of a step at each checkpoint.
 */
export function grownArrays({ trees, validationLoss }: GrownSoFar): StepArrays {
  let nodes = 0;
  let splits = 0;
  for (const { child } of trees) {
    nodes += child.length;
    // Two more nodes with each split.
    splits += (child.length - 1) / 2;
  }
  const arrays = {
    nodes: Uint32Array.from(trees, ({ child }) => child.length),
    child: new Uint32Array(nodes),
    value: new Float64Array(nodes),
    cover: new Float64Array(nodes),
    isSplit: new Uint8Array(nodes),
    gain: new Float64Array(splits),
    feature: new Uint32Array(splits),
    lastLeft: new Uint16Array(splits),
    /** NaN where the column is not monotone. */
    middle: new Float64Array(splits),
    left: new Uint8Array(splits * LEFT_BYTES),
    validationLoss: Float64Array.from(validationLoss),
  };
  let node = 0;
  let next = 0;
  for (const tree of trees) {
    for (let i = 0; i < tree.child.length; i++, node++) {
      arrays.child[node] = tree.child[i] as number;
      arrays.value[node] = tree.value[i] as number;
      arrays.cover[node] = tree.cover[i] as number;
      const split = tree.split[i];
      if (split === undefined) continue;
      arrays.isSplit[node] = 1;
      arrays.gain[next] = split.gain;
      arrays.feature[next] = split.feature;
      arrays.lastLeft[next] = split.lastLeft;
      arrays.middle[next] = split.middle ?? Number.NaN;
      packBits(split.left, arrays.left, next++ * LEFT_BYTES);
    }
  }
  return arrays;
}

function packBits(bits: Uint8Array, out: Uint8Array, at: number): void {
  for (let byte = 0; byte < LEFT_BYTES; byte++) {
    let packed = 0;
    for (let b = 0; b < 8; b++) packed |= (bits[byte * 8 + b] as number) << b;
    out[at + byte] = packed;
  }
}

/** The trees of `grownArrays`. */
export function grownOf(arrays: StepArrays): GrownSoFar {
  const at = (name: string, i: number): number => arrays[name]?.[i] as number;
  const trees: GrownTree[] = [];
  let node = 0;
  let next = 0;
  const splitAt = (i: number): Split => {
    const middle = at('middle', i);
    return {
      gain: at('gain', i),
      feature: at('feature', i),
      left: Uint8Array.from(
        { length: 256 },
        (_, b) => (at('left', i * LEFT_BYTES + (b >> 3)) >> (b & 7)) & 1,
      ),
      lastLeft: at('lastLeft', i),
      ...(!Number.isNaN(middle) && { middle }),
    };
  };
  for (const nodes of arrays.nodes ?? []) {
    const tree: GrownTree = { child: [], split: [], value: [], cover: [] };
    for (const end = node + nodes; node < end; node++) {
      tree.child.push(at('child', node));
      tree.value.push(at('value', node));
      tree.cover.push(at('cover', node));
      tree.split.push(at('isSplit', node) === 1 ? splitAt(next++) : undefined);
    }
    trees.push(tree);
  }
  return { trees, validationLoss: [...(arrays.validationLoss ?? [])] };
}
