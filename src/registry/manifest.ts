import { z } from 'zod';
import type { Bytes, Digest } from '../base/index.ts';
import { digestField, timeField } from './gate-report.ts';
import { isName, isVersion } from './names.ts';

/** What is signed about a model version. Stored and hashed as canonical JSON. */
export interface Manifest {
  readonly v: 1;
  readonly name: string;
  readonly version: string;
  /** Of the plaintext weights. */
  readonly weights: { readonly digest: Digest; readonly size: Bytes };
  /** Digest of the schema's canonical JSON, which is the schema's id. */
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  /** Of the training data. */
  readonly dataDigest: Digest;
  readonly configuration: unknown;
  readonly seed: number;
  readonly trainer: string;
  /** Of gates.json. */
  readonly gateReportDigest: Digest;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
  readonly author: string;
}

/** Refuses unknown and missing fields. */
export const MANIFEST = z.strictObject({
  v: z.literal(1),
  name: z.string().refine(isName),
  version: z.string().refine(isVersion),
  weights: z.strictObject({ digest: digestField, size: z.int().min(1) }),
  schemaId: digestField,
  sourceKinds: z.array(z.string().min(1).max(64)).min(1).max(64),
  dataDigest: digestField,
  configuration: z.unknown(),
  seed: z.int().min(0).max(0xffffffff),
  trainer: z.string().min(1).max(256),
  gateReportDigest: digestField,
  createdAt: timeField,
  author: z.string().min(1).max(256),
});

/** The files of a model as they are signed and exported, beside the signature itself. */
export const SIGNED_FILES = {
  weights: 'model.agm',
  manifest: 'manifest.json',
  gates: 'gates.json',
  schema: 'schema.json',
} as const;

export const SIGNATURE_FILE = 'model.sig';
