import { goesLeft, type TreeEnsemble } from './tree-ensemble.ts';

/**
 * The mean leaf under each node, weighed by the training rows that reached it. Float64Array, one a node.
 * Children lie behind their parent, so one backward pass suffices.
 */
export function nodeMeans(ensemble: TreeEnsemble): Float64Array {
  const { child, value, cover } = ensemble;
  const means = new Float64Array(child.length);
  for (let n = child.length - 1; n >= 0; n--) {
    const left = child[n] as number;
    if (left === 0) {
      means[n] = value[n] as number;
      continue;
    }
    const l = cover[left] as number;
    const r = cover[left + 1] as number;
    const share = l + r === 0 ? 0.5 : l / (l + r);
    means[n] = share * (means[left] as number) + (1 - share) * (means[left + 1] as number);
  }
  return means;
}

/**
 * Path contributions after Saabas (2014): each split on the row's path credits its column with the change of the node
 * mean. Contributions and the roots' means add up to the margin. Cheap, and biased towards splits near the leaves:
 * they say where this path turned, they are not Shapley values.
 * Adds into `out`: Float64Array, one a column. `row`: Float32Array, one value a column.
 */
export function addPathContributions(
  ensemble: TreeEnsemble,
  means: Float64Array,
  row: Float32Array,
  out: Float64Array,
): void {
  for (const root of ensemble.roots) {
    let node = root;
    for (let left = ensemble.child[node] as number; left !== 0; left = ensemble.child[node] as number) {
      const column = ensemble.feature[node] as number;
      const next = goesLeft(ensemble, node, row[column] as number) ? left : left + 1;
      out[column] = (out[column] as number) + (means[next] as number) - (means[node] as number);
      node = next;
    }
  }
}
