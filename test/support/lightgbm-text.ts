/** A split: what is at or below the threshold, or among the categories, ends in the leaf; the rest goes on. */
export interface TextSplit {
  readonly column: number;
  readonly threshold?: number;
  readonly categories?: readonly number[];
  readonly leaf: number;
  readonly above: number | TextSplit;
}

/** A binary model as LightGBM's `Booster.save_model` writes it, of trees that grow to one side. */
export function lightGbmText(columns: number, trees: readonly TextSplit[]): string {
  const head = [
    ...['tree', 'version=v4', 'num_class=1', 'num_tree_per_iteration=1', 'label_index=0'],
    ...[`max_feature_idx=${columns - 1}`, 'objective=binary sigmoid:1'],
    `feature_names=${Array.from({ length: columns }, (_, c) => `Column_${c}`).join(' ')}`,
  ];
  return `${head.join('\n')}\n\n${trees.map(writeTree).join('')}end of trees\n`;
}

function writeTree(tree: TextSplit, number: number): string {
  const splits: TextSplit[] = [];
  let last: number | TextSplit = tree;
  while (typeof last !== 'number') {
    splits.push(last);
    last = last.above;
  }
  const lists: Record<string, readonly number[]> = {
    split_feature: splits.map(({ column }) => column),
    threshold: splits.map(
      ({ threshold }, i) => threshold ?? splits.slice(0, i).filter((s) => s.categories).length,
    ),
    // Missing as NaN, to the right; bit 0 is a category.
    decision_type: splits.map(({ categories }) => (categories === undefined ? 8 : 9)),
    left_child: splits.map((_, i) => ~i),
    right_child: splits.map((_, i) => (i + 1 < splits.length ? i + 1 : ~(i + 1))),
    leaf_value: [...splits.map(({ leaf }) => leaf), last],
  };
  const categorical = splits.flatMap(({ categories }) => (categories === undefined ? [] : [categories]));
  if (categorical.length > 0) {
    lists.cat_boundaries = [0, ...categorical.map((_, i) => i + 1)];
    lists.cat_threshold = categorical.map((members) => members.reduce((word, c) => word | (1 << c), 0) >>> 0);
  }
  const lines = Object.entries(lists).map(([name, values]) => `${name}=${values.join(' ')}`);
  return `Tree=${number}\nnum_leaves=${splits.length + 1}\nnum_cat=${categorical.length}\n${lines.join('\n')}\nis_linear=0\nshrinkage=1\n\n\n`;
}
