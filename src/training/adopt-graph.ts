import {
  auc,
  checkGraph,
  type DetectionModel,
  describeGraph,
  encodeGraphModel,
  GraphModel,
  type GraphModelParts,
  type GraphOutput,
  IDENTITY_CALIBRATION,
  logOdds,
} from '../models/index.ts';
import {
  type AdoptionInput,
  type AdoptionProvenance,
  type AdoptionRows,
  adoptionProvenance,
  fitDecision,
  halveRows,
} from './adopted.ts';
import { TrainingError } from './errors.ts';
import type { OpenModel } from './gate-evaluator.ts';
import { type LabelledTable, modelColumns } from './labelled-table.ts';

export interface AdoptGraphInput extends AdoptionInput {
  /** Where the graph says how likely an attack is. */
  readonly output: GraphOutput;
}

export interface AdoptedGraph extends Pick<AdoptionRows, 'held' | 'fittedOn'> {
  readonly model: GraphModel;
  readonly modelBytes: Uint8Array;
  readonly provenance: AdoptionProvenance;
}

/**
 * Makes a candidate of a graph that another library trained and that stays as it is: its columns must be the schema's, in its
 * order; calibration and threshold are fitted on the given rows, which `open`'s runtime computes. Throws `models.onnx-refused`
 * for a graph that is never loaded, `training.graph-refused` where its numbers do not speak of attacks, and as `open`.
 */
export async function adoptGraph(
  input: AdoptGraphInput,
  open: (model: DetectionModel) => Promise<OpenModel>,
): Promise<AdoptedGraph> {
  const { file, schema, thresholdPolicy, output } = input;
  const columns = modelColumns(schema);
  checkGraph(file, columns.length, output);
  const { fitted, held, fittedOn } = halveRows(input);
  const parts: GraphModelParts = {
    schemaId: schema.id,
    sourceKinds: schema.schema.sourceKinds,
    columns,
    threshold: 0.5,
    output,
    // Log-odds come out as probabilities; a graph of probabilities gives them as they are.
    calibration: output.link === 'margin' ? IDENTITY_CALIBRATION : null,
    graph: file,
  };
  const margins = await marginsOf(new GraphModel(parts), fitted, open);
  // Calibration keeps the order of the rows, so it cannot mend one that is upside down.
  if (!(auc(margins, fitted.labels).value > 0.5)) {
    throw new TrainingError(
      'training.graph-refused',
      `expected higher numbers for attacks in column ${output.column} of ${JSON.stringify(output.name)}; is another column meant?`,
    );
  }
  const { calibration, threshold } = fitDecision(margins, fitted, thresholdPolicy);
  const model = new GraphModel({ ...parts, threshold, calibration });
  return {
    ...{ model, modelBytes: encodeGraphModel(model), held, fittedOn },
    provenance: adoptionProvenance(input, {
      method: 'imported graph',
      format: 'onnx',
      facts: { output: { ...output }, graph: describeGraph(file) },
    }),
  };
}

async function marginsOf(
  graph: GraphModel,
  { values, rows }: LabelledTable,
  open: (model: DetectionModel) => Promise<OpenModel>,
): Promise<Float64Array> {
  const probability = new Float32Array(rows);
  const opened = await open(graph);
  try {
    opened.model.score(values, rows, { probability, kind: new Int16Array(rows) });
  } finally {
    await opened.close();
  }
  const margins = Float64Array.from(probability, (given) => logOdds(given, 'probability'));
  if (margins.some(Number.isNaN)) {
    throw new TrainingError(
      'training.graph-refused',
      'expected probabilities: give --log-odds for a graph that gives those',
    );
  }
  return margins;
}
