import type { Clock, Digest, Milliseconds } from '../base/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import {
  type Certificate,
  type CertificateOrigin,
  type Claim,
  certify,
  type DetectionModel,
  fitDriftReference,
  type ScoredLabels,
} from '../models/index.ts';
import { TrainingError } from './errors.ts';
import { evaluateModel } from './evaluate.ts';
import { type LabelledTable, modelColumns } from './labelled-table.ts';

const DAY_MS: Milliseconds = 24 * 3_600_000;

export interface CertifyModelInput {
  readonly model: DetectionModel;
  readonly modelDigest: Digest;
  readonly schema: LoadedSchema;
  /** Rows that training has not seen, with a digest. */
  readonly table: LabelledTable;
  readonly origin: CertificateOrigin;
  /** Highest error rate allowed of block and of allow decisions. */
  readonly target: number;
  readonly expiresDays: number;
  readonly clock: Clock;
  /** What the model says of the rows; it is asked where this is left out. */
  readonly probability?: Float32Array;
  /** Like rows to plan the tests on; a part of the table by default. */
  readonly planning?: ScoredLabels | undefined;
}

/** Both claims, and the certificate where one of them holds. */
export interface ModelCertification {
  readonly claims: Readonly<Record<'block' | 'allow', Claim>>;
  readonly certificate: Certificate | undefined;
}

/**
 * Certifies a model on labelled rows, block and allow each by itself, and keeps how the rows were distributed. Throws
 * training.table-invalid where the rows have no digest.
 */
export function certifyModel(input: CertifyModelInput): ModelCertification {
  const { model, modelDigest, schema, table, origin, target, expiresDays, clock, planning } = input;
  if (table.digest === undefined || table.rows === 0) {
    throw new TrainingError('training.table-invalid', 'expected rows with a digest to certify on');
  }
  const probability = input.probability ?? evaluateModel(model, table).probability;
  const attacks = table.labels.reduce((sum, label) => sum + label, 0);
  const rows = {
    ...{ probability, labels: table.labels, origin, decisionThreshold: model.threshold },
    ...(table.episodes && { episodes: table.episodes }),
    ...(planning && { planning }),
  };
  const claims = {
    block: certify(rows, { side: 'block', target }),
    allow: certify(rows, { side: 'allow', target }),
  };
  if (claims.block.status === 'refused' && claims.allow.status === 'refused') {
    return { claims, certificate: undefined };
  }
  const now = clock.now();
  const certificate: Certificate = {
    v: 1,
    modelDigest,
    schemaId: model.schemaId,
    calibration: { digest: table.digest, rows: table.rows, attacks },
    origin,
    sourceKinds: [...model.sourceKinds],
    decisionThreshold: model.threshold,
    claims,
    issuedAt: new Date(now).toISOString(),
    expiresAt: new Date(now + expiresDays * DAY_MS).toISOString(),
    drift: fitDriftReference(table.values, probability, modelColumns(schema)),
  };
  return { claims, certificate };
}
