import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { decodeContainer, encodeContainer } from '../container.ts';
import { ModelError } from '../errors.ts';
import { CALIBRATION_FIELD, DETECTOR_FIELDS, word } from '../header-fields.ts';
import { read } from '../model-sections.ts';
import { GraphModel, type GraphModelParts } from './graph-model.ts';
import { checkGraph } from './graph-rules.ts';

/** Version of a model file that holds a foreign graph. */
export const GRAPH_FORMAT_VERSION = 3;
const SECTION = 'graph';

const HEADER = z.strictObject({
  type: z.literal('onnx-graph'),
  ...DETECTOR_FIELDS,
  output: z.strictObject({
    name: word,
    column: z.int().min(0).max(65_535),
    link: z.enum(['probability', 'margin']),
  }),
  calibration: z.union([z.null(), CALIBRATION_FIELD]),
});

/** The bytes of a model of a foreign graph. Throws `models.malformed`, `models.onnx-refused`. */
export function encodeGraphModel({ parts }: GraphModel): Uint8Array {
  const { graph, schemaId, sourceKinds, columns, threshold, output, calibration } = parts;
  const header = {
    type: 'onnx-graph',
    ...{ schemaId, sourceKinds, threshold },
    columns: columns.map(({ name, categories }) => ({ name, categories })),
    output: { ...output },
    calibration: calibration && { ...calibration },
  };
  const bytes = encodeContainer(GRAPH_FORMAT_VERSION, header, [{ name: SECTION, dtype: 'u8', data: graph }]);
  decodeGraphModel(bytes);
  return bytes;
}

/**
 * Reads a model file with a foreign graph: the header strictly, the graph by `checkGraph`. No runtime has a part in it.
 * Throws `models.malformed`, `models.onnx-refused`.
 */
export function decodeGraphModel(bytes: Uint8Array): GraphModel {
  const container = decodeContainer(bytes);
  if (container.version !== GRAPH_FORMAT_VERSION) {
    throw malformed(`expected version ${GRAPH_FORMAT_VERSION}, got ${container.version}`);
  }
  const parsed = HEADER.safeParse(container.header);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`header: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  if (container.sections.size !== 1) throw malformed('expected one section, the graph');
  const { type: _, ...header } = parsed.data;
  const parts: GraphModelParts = {
    ...header,
    schemaId: header.schemaId as Digest,
    graph: read(container, SECTION, 'u8'),
  };
  if (new Set(parts.columns.map(({ name }) => name)).size !== parts.columns.length) {
    throw malformed('two columns have one name');
  }
  if (parts.output.link === 'margin' && parts.calibration === null) {
    throw malformed('log-odds need a calibration');
  }
  checkGraph(parts.graph, parts.columns.length, parts.output);
  return new GraphModel(parts);
}

function malformed(message: string): ModelError {
  return new ModelError('models.malformed', message);
}
