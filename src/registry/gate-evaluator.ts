import type { Digest } from '../base/index.ts';
import type { Drift } from './evaluator-report.ts';
import type { GateReport } from './gate-report.ts';
import type { VerifiedModel } from './verify.ts';

/** Where labelled data lie that gates are run on: files of the machine the registry runs on. */
export interface GateDataFiles {
  /** Absolute. */
  readonly path: string;
  /** Absolute; labels of flows. */
  readonly labels?: string;
}

/** What reading them gave. */
export interface GateDataFacts {
  /** Of the bytes that were read, the labels' included. */
  readonly digest: Digest;
  readonly rows: number;
  readonly attacks: number;
}

export interface EvaluationInput {
  readonly files: GateDataFiles;
  /** What the data must be; the evaluator says what they are, and the registry compares. */
  readonly digest: Digest;
  readonly candidate: VerifiedModel;
  /** Plaintext model file of the candidate, for its digest and size. */
  readonly weights: Uint8Array;
  /** The model to compare with, of the same schema. */
  readonly champion?: VerifiedModel;
}

export interface EvaluationResult extends GateDataFacts {
  readonly gates: GateReport;
  readonly drift: Drift | null;
}

/** Runs gates in the registry's own process. Handed to the registry by its owner, as the registry cannot read data. */
export interface GateEvaluator {
  /** Reads a set by a schema (canonical JSON) and says what is in it. Throws where it is not fit for gates. */
  inspect(files: GateDataFiles, schemaBytes: Uint8Array): Promise<GateDataFacts>;
  evaluate(input: EvaluationInput): Promise<EvaluationResult>;
}
