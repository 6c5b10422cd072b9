import type { Digest, Probability } from '../../base/index.ts';
import { type Calibration, calibrate } from '../calibration.ts';
import type { Contribution, DetectionModel, ModelColumn, ScoreBatchBuffers } from '../detection-model.ts';
import { ModelError } from '../errors.ts';
import type { GraphOutput } from './graph-rules.ts';

/** Everything a model of a foreign graph consists of; what the file holds. */
export interface GraphModelParts {
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly columns: readonly ModelColumn[];
  readonly threshold: Probability;
  readonly output: GraphOutput;
  /** Of the log-odds; null leaves the graph's probabilities as they are. */
  readonly calibration: Calibration | null;
  /** A ModelProto of ONNX. */
  readonly graph: Uint8Array;
}

/** A probability of 0 or 1 has no log-odds. */
const CLIP = 1e-7;

/**
 * A graph that another library trained and that has no native form. It is only computed by a runtime in a process of
 * its own: `score` throws `models.needs-runtime`. It names no kinds and explains nothing.
 */
export class GraphModel implements DetectionModel {
  readonly parts: GraphModelParts;
  readonly columnNames: readonly string[];
  readonly kinds: readonly string[] = [];

  constructor(parts: GraphModelParts) {
    this.parts = parts;
    this.columnNames = parts.columns.map(({ name }) => name);
  }

  get schemaId(): Digest {
    return this.parts.schemaId;
  }

  get sourceKinds(): readonly string[] {
    return this.parts.sourceKinds;
  }

  get threshold(): Probability {
    return this.parts.threshold;
  }

  score(): never {
    throw new ModelError(
      'models.needs-runtime',
      'a foreign graph is scored by a runtime in a process of its own',
    );
  }

  /** What the graph gave for each row becomes what the model says. `given`: Float32Array, at least `rows`; may be `out`'s. */
  finish(given: Float32Array, rows: number, out: ScoreBatchBuffers): void {
    const { calibration, output } = this.parts;
    const { probability, kind } = out;
    for (let row = 0; row < rows; row++) {
      const value = given[row] as number;
      probability[row] = calibration === null ? value : calibrate(calibration, logOdds(value, output.link));
    }
    kind.fill(-1, 0, rows);
  }

  /** None: what moved a row inside a foreign graph is not known. */
  explain(): readonly Contribution[] {
    return [];
  }
}

/** Log-odds of what a graph gives; NaN, and numbers that are no probabilities where one is said to be given, stay NaN. */
export function logOdds(value: number, link: GraphOutput['link']): number {
  if (link === 'margin') return value;
  if (!(value >= 0 && value <= 1)) return Number.NaN;
  const p = Math.min(1 - CLIP, Math.max(CLIP, value));
  return Math.log(p / (1 - p));
}
