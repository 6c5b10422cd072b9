import type { Digest } from '../base/index.ts';
import {
  type BinaryMetrics,
  binaryMetrics,
  type DetectionModel,
  type KindMetrics,
  kindMetrics,
} from '../models/index.ts';
import type { LabelledTable } from './labelled-table.ts';

/** How a model did on labelled rows. */
export interface Evaluation {
  readonly rows: number;
  readonly attacks: number;
  readonly threshold: number;
  readonly metrics: BinaryMetrics;
  /** One entry for each attack type of the rows. */
  readonly kinds: readonly KindMetrics[];
  /** Float32Array, one a row: calibrated P(attack), for a certificate or a curve. */
  readonly probability: Float32Array;
  readonly dataDigest?: Digest;
}

/** Scores every row and measures, at the model's own threshold unless another is given. */
export function evaluateModel(
  model: DetectionModel,
  table: LabelledTable,
  threshold = model.threshold,
): Evaluation {
  const { rows, labels, typeIndex, typeNames, digest } = table;
  const out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  model.score(table.values, rows, out);
  return {
    rows,
    attacks: labels.reduce((sum, label) => sum + label, 0),
    threshold,
    metrics: binaryMetrics(out.probability, labels, threshold),
    kinds: kindMetrics({ ...out, kinds: model.kinds, labels, typeIndex, typeNames, threshold }),
    probability: out.probability,
    ...(digest && { dataDigest: digest }),
  };
}
