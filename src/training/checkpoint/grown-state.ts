import type { GrownSoFar } from '../boosting.ts';
import type { GrownTree } from '../grow-tree.ts';
import type { Split } from '../split.ts';
import type { StepArrays } from './training-state.ts';

const LEFT_BYTES = 32;

/** Trees as arrays, one entry a node or a split, without the loss of a bit; `left` as 256 bits, low bit first. */
export function grownArrays({ trees, validationLoss }: GrownSoFar): StepArrays {
  const splits = trees.flatMap(({ split }) => split.filter((s) => s !== undefined));
  const left = new Uint8Array(splits.length * LEFT_BYTES);
  splits.forEach((split, i) => {
    for (let b = 0; b < 256; b++) if (split.left[b] === 1) left[i * LEFT_BYTES + (b >> 3)]! |= 1 << (b & 7);
  });
  return {
    nodes: Uint32Array.from(trees, ({ child }) => child.length),
    child: Uint32Array.from(trees.flatMap(({ child }) => child)),
    value: Float64Array.from(trees.flatMap(({ value }) => value)),
    cover: Float64Array.from(trees.flatMap(({ cover }) => cover)),
    isSplit: Uint8Array.from(trees.flatMap(({ split }) => split.map((s) => (s === undefined ? 0 : 1)))),
    gain: Float64Array.from(splits, ({ gain }) => gain),
    feature: Uint32Array.from(splits, ({ feature }) => feature),
    lastLeft: Uint16Array.from(splits, ({ lastLeft }) => lastLeft),
    /** NaN where the column is not monotone. */
    middle: Float64Array.from(splits, ({ middle }) => middle ?? Number.NaN),
    left,
    validationLoss: Float64Array.from(validationLoss),
  };
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
