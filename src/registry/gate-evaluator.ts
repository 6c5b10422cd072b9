import type { Digest } from '../base/index.ts';
import type { Certificate, CertificateOrigin, CertifiedSide, Claim } from '../models/index.ts';
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

/** What a certificate is asked for. */
export interface CertificationTerms {
  /** Where the data are from, by the word of whoever asks. */
  readonly origin: CertificateOrigin;
  /** Highest error rate allowed. */
  readonly target: number;
  readonly expiresDays: number;
}

export interface CertificationInput extends CertificationTerms {
  readonly files: GateDataFiles;
  readonly candidate: VerifiedModel;
}

export interface CertificationResult extends GateDataFacts {
  readonly claims: Readonly<Record<CertifiedSide, Claim>>;
  /** Absent where neither claim holds. */
  readonly certificate: Certificate | undefined;
}

/** Runs gates in the registry's own process. Handed to the registry by its owner, as the registry cannot read data. */
export interface GateEvaluator {
  /** Reads a set by a schema (canonical JSON) and says what is in it. Throws where it is not fit for gates. */
  inspect(files: GateDataFiles, schemaBytes: Uint8Array): Promise<GateDataFacts>;
  evaluate(input: EvaluationInput): Promise<EvaluationResult>;
  /** Certifies a model on such data; a refusal is a value. */
  certify(input: CertificationInput): Promise<CertificationResult>;
}
