import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type AuditLog, openAuditLog } from '../../src/audit/index.ts';
import { type Clock, type Digest, ManualClock, SeededRandom } from '../../src/base/index.ts';
import {
  canonicalJson,
  createFileKeyStore,
  type FileKeyStore,
  openFileKeyStore,
  sha256,
} from '../../src/crypto/index.ts';
import {
  BoostedModel,
  type Certificate,
  certify,
  encodeModel,
  fitDriftReference,
} from '../../src/models/index.ts';
import {
  type Candidate,
  type CertificationResult,
  type CertificationTerms,
  type GateEvaluator,
  openRegistry,
  type Registry,
  type RegistryParts,
  type VerifiedModel,
} from '../../src/registry/index.ts';
import {
  type BlobStore,
  type Database,
  openDatabase,
  openDirectoryBlobStore,
  stateLayout,
} from '../../src/storage/index.ts';
import { RANDOM_COLUMNS, randomModel, randomRows } from './random-model.ts';

/** A registry and all it stands on, in one state folder. */
export interface House {
  readonly folder: string;
  readonly keys: FileKeyStore;
  readonly log: AuditLog;
  readonly blobs: BlobStore;
  readonly db: Database;
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Opens the house in `folder/state`, made at the first call; the unlock file stands in `folder/config`. */
export async function openHouse(
  folder: string,
  clock: Clock = new ManualClock(),
  parts: Partial<RegistryParts> = {},
): Promise<House> {
  const layout = stateLayout(join(folder, 'state'));
  const options = {
    path: layout.keys,
    secret: { kind: 'file', path: join(folder, 'config', 'unlock.key') },
    clock,
  } as const;
  const keys = await (existsSync(layout.keys) ? openFileKeyStore(options) : createFileKeyStore(options));
  const log = await openAuditLog({ folder: layout.audit, keys, clock });
  const blobs = await openDirectoryBlobStore(layout.blobs);
  const db = await openDatabase(layout.database);
  const close = async () => {
    await log.close();
    await db.close();
    await keys.close();
  };
  const registry = await openRegistry({ keys, log, blobs, db, clock, ...parts }).catch(
    async (error: unknown) => {
      await close();
      throw error;
    },
  );
  return {
    folder,
    keys,
    log,
    blobs,
    db,
    registry,
    close,
  };
}

export const FIXTURE_SCHEMA: Uint8Array = Buffer.from(
  canonicalJson({ v: 1, name: 'fixture', columns: RANDOM_COLUMNS.map(({ name }) => ({ name })) }),
);

/** A small candidate that agrees with itself; other seeds give other weights. */
export function makeCandidate(
  options: { readonly name?: string; readonly seed?: number; readonly passed?: boolean } = {},
): Candidate {
  const { name = 'flow', seed = 1, passed = true } = options;
  const { parts } = randomModel(new SeededRandom(seed));
  const modelBytes = encodeModel(new BoostedModel({ ...parts, schemaId: sha256(FIXTURE_SCHEMA) }));
  return {
    name,
    modelBytes,
    schemaBytes: FIXTURE_SCHEMA,
    gateReport: {
      v: 1,
      passed,
      gates: [{ name: 'accuracy', passed, value: passed ? 0.9 : 0.5, threshold: 0.8, comparison: '>=' }],
      dataDigest: sha256('gate data'),
      modelDigest: sha256(modelBytes),
      metrics: { accuracy: { value: 0.9, low: 0.89, high: 0.91 } },
      createdAt: '2026-01-01T00:00:00.000Z',
    },
    provenance: {
      dataDigest: sha256('training data'),
      sourceKinds: ['packets'],
      configuration: { rounds: 3 },
      seed,
      trainer: 'fixture',
    },
  };
}

/** What a made-up set of gate data is, and how the next candidate does on it. Fields are changed by tests. */
export interface FixtureGateData {
  digest: Digest;
  rows: number;
  attacks: number;
  accuracy: number;
}

/** An evaluator without data: it tells what it is told, and notes what it was asked. */
export function fixtureEvaluator(): {
  readonly evaluator: GateEvaluator;
  readonly data: FixtureGateData;
  readonly asked: { candidate: string; champion: string | undefined }[];
} {
  const data: FixtureGateData = { digest: sha256('fixture data'), rows: 100, attacks: 40, accuracy: 0.9 };
  const asked: { candidate: string; champion: string | undefined }[] = [];
  return {
    data,
    asked,
    evaluator: {
      certify: async ({ candidate, origin, target, expiresDays }) => {
        const certified = fixtureCertificate(candidate, data, { origin, target, expiresDays });
        return { digest: data.digest, rows: data.rows, attacks: data.attacks, ...certified };
      },
      inspect: async () => ({ digest: data.digest, rows: data.rows, attacks: data.attacks }),
      evaluate: async ({ candidate, champion }) => {
        asked.push({ candidate: candidate.version, champion: champion?.version });
        const { digest, rows, attacks, accuracy } = data;
        const passed = accuracy >= 0.8;
        return {
          digest,
          rows,
          attacks,
          gates: {
            v: 1,
            passed,
            gates: [{ name: 'accuracy', passed, value: accuracy, threshold: 0.8, comparison: '>=' }],
            dataDigest: digest,
            modelDigest: candidate.digest,
            metrics: { accuracy: { value: accuracy, low: accuracy - 0.05, high: accuracy + 0.05 } },
            createdAt: '2026-01-01T00:00:00.000Z',
          },
          drift:
            champion === undefined
              ? null
              : {
                  version: champion.version,
                  digest: champion.digest,
                  psi: 0.01,
                  ks: 0.02,
                  metrics: { accuracy: 0.001 },
                },
        };
      },
    },
  };
}

/** What is certified on made-up rows of the fixture's columns, all decided rightly. */
function fixtureCertificate(
  { digest: modelDigest, schemaId, sourceKinds, model }: VerifiedModel,
  { digest, rows, attacks }: FixtureGateData,
  { origin, target, expiresDays }: CertificationTerms,
): Pick<CertificationResult, 'claims' | 'certificate'> {
  const random = new SeededRandom(20261123);
  const values = randomRows(random, rows);
  const probability = new Float32Array(rows);
  model.score(values, rows, { probability, kind: new Int16Array(rows) });
  const labels = Uint8Array.from(probability, (p) => (p >= model.threshold ? 1 : 0));
  const data = { probability, labels, origin, decisionThreshold: model.threshold };
  const claims = {
    block: certify(data, { side: 'block', target }),
    allow: certify(data, { side: 'allow', target }),
  };
  if (claims.block.status === 'refused' && claims.allow.status === 'refused') {
    return { claims, certificate: undefined };
  }
  const issued = Date.UTC(2026, 0, 1);
  const certificate: Certificate = {
    ...{ v: 1, modelDigest, schemaId, origin, sourceKinds, claims },
    calibration: { digest, rows, attacks },
    decisionThreshold: model.threshold,
    issuedAt: new Date(issued).toISOString(),
    expiresAt: new Date(issued + expiresDays * 86_400_000).toISOString(),
    drift: fitDriftReference(values, probability, RANDOM_COLUMNS),
  };
  return { claims, certificate };
}
