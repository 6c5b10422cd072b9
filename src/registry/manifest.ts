import { z } from 'zod';
import type { Bytes, Digest } from '../base/index.ts';
import { digestField, timeField } from './gate-report.ts';
import { isName, isVersion } from './names.ts';

/** What is signed about a model version. Stored and hashed as canonical JSON. */
export interface Manifest {
  /** 2 where the version was imported. */
  readonly v: 1 | 2;
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
  /** Where the version came from, version 2 only; the signature and manifest it came with are kept beside it. */
  readonly imported?: ImportedFrom;
}

/** What another registry signed about a version. */
export interface ImportedFrom {
  readonly name: string;
  readonly version: string;
  readonly author: string;
  /** RFC 3339 UTC. */
  readonly createdAt: string;
  /** Of the manifest that was signed there. */
  readonly manifestDigest: Digest;
  /** Hexadecimal SHA-256 of the signing key's PEM text. */
  readonly signer: string;
  /** Whether `gates.json` is the local evaluator's report or the one that came along. */
  readonly gates: 'evaluator' | 'submitter';
}

const FIELDS = {
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
};

const IMPORTED = z.strictObject({
  name: z.string().refine(isName),
  version: z.string().refine(isVersion),
  author: z.string().min(1).max(256),
  createdAt: timeField,
  manifestDigest: digestField,
  signer: z.string().regex(/^[0-9a-f]{64}$/),
  gates: z.enum(['evaluator', 'submitter']),
});

/** Refuses unknown and missing fields. */
export const MANIFEST = z.discriminatedUnion('v', [
  z.strictObject({ v: z.literal(1), ...FIELDS }),
  z.strictObject({ v: z.literal(2), ...FIELDS, imported: IMPORTED }),
]);

/** The files of a model as they are signed and exported, beside the signature itself. */
export const SIGNED_FILES = {
  weights: 'model.agm',
  manifest: 'manifest.json',
  gates: 'gates.json',
  schema: 'schema.json',
} as const;

export const SIGNATURE_FILE = 'model.sig';

/** What an imported version came with, as blobs beside the signed files; the weights and the schema are the same. */
export const ORIGIN_FILES = {
  manifest: 'origin-manifest.json',
  gates: 'origin-gates.json',
  signature: 'origin-model.sig',
} as const;
