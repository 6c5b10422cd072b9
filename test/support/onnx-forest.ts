import { encodeOnnx } from '../../src/models/onnx/onnx-graph.ts';

/** As skl2onnx writes a random forest: leaves are probabilities of two classes. */
export function onnxForest(columns: number): Uint8Array {
  return encodeOnnx({
    opsets: { '': 17, 'ai.onnx.ml': 3 },
    metadata: {},
    inputs: [{ name: 'X', type: 1, dims: ['n', columns] }],
    outputs: [{ name: 'probabilities', type: 1, dims: ['n', 2] }],
    initializers: [],
    nodes: [
      {
        op: 'TreeEnsembleClassifier',
        domain: 'ai.onnx.ml',
        inputs: ['X'],
        outputs: ['label', 'probabilities'],
        attributes: {
          ...{ post_transform: 'NONE', classlabels_int64s: [0, 1] },
          ...{ nodes_treeids: [0, 0, 0], nodes_nodeids: [0, 1, 2], nodes_featureids: [1, 0, 0] },
          ...{ nodes_modes: ['BRANCH_LEQ', 'LEAF', 'LEAF'], nodes_values: [0.5, 0, 0] },
          ...{ nodes_truenodeids: [1, 0, 0], nodes_falsenodeids: [2, 0, 0] },
          nodes_missing_value_tracks_true: [0, 0, 0],
          ...{ class_treeids: [0, 0, 0, 0], class_nodeids: [1, 1, 2, 2], class_ids: [0, 1, 0, 1] },
          class_weights: [0.75, 0.25, 0.25, 0.75],
        },
      },
    ],
  });
}
