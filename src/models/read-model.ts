import { peekVersion } from './container.ts';
import type { DetectionModel } from './detection-model.ts';
import { decodeModel } from './model-file.ts';
import { decodeGraphModel, GRAPH_FORMAT_VERSION } from './onnx/graph-file.ts';

/** A model of any kind that has a file format. Throws `models.malformed`, `models.onnx-refused`. */
export function readModel(bytes: Uint8Array): DetectionModel {
  return peekVersion(bytes) === GRAPH_FORMAT_VERSION ? decodeGraphModel(bytes) : decodeModel(bytes);
}
