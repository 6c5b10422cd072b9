import { BITSET_WORDS, CATEGORICAL, type TreeEnsemble } from '../../models/index.ts';

/** One ensemble whose margin is the mean of these ensembles' margins: trees side by side, leaves divided. */
export function meanEnsemble(ensembles: readonly TreeEnsemble[]): TreeEnsemble {
  const total = (of: (ensemble: TreeEnsemble) => number): number =>
    ensembles.reduce((sum, ensemble) => sum + of(ensemble), 0);
  const nodes = total(({ child }) => child.length);
  const merged = {
    roots: new Uint32Array(total(({ roots }) => roots.length)),
    child: new Uint32Array(nodes),
    feature: new Uint16Array(nodes),
    value: new Float32Array(nodes),
    flags: new Uint8Array(nodes),
    block: new Uint32Array(nodes),
    cover: new Uint32Array(nodes),
    bitsets: new Uint32Array(total(({ bitsets }) => bitsets.length)),
  };
  let [tree, node, word] = [0, 0, 0];
  for (const ensemble of ensembles) {
    const { roots, child, feature, value, flags, block, cover, bitsets } = ensemble;
    merged.roots.set(roots, tree);
    for (let t = tree; t < tree + roots.length; t++) merged.roots[t]! += node;
    merged.feature.set(feature, node);
    merged.flags.set(flags, node);
    merged.cover.set(cover, node);
    merged.bitsets.set(bitsets, word);
    for (let n = 0; n < child.length; n++) {
      const isLeaf = child[n] === 0;
      merged.child[node + n] = isLeaf ? 0 : (child[n] as number) + node;
      merged.value[node + n] = isLeaf ? (value[n] as number) / ensembles.length : (value[n] as number);
      const usesBitset = ((flags[n] as number) & CATEGORICAL) !== 0;
      merged.block[node + n] = usesBitset ? (block[n] as number) + word / BITSET_WORDS : 0;
    }
    tree += roots.length;
    node += child.length;
    word += bitsets.length;
  }
  return merged;
}
