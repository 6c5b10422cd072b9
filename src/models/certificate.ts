import { z } from 'zod';
import type { Digest, Milliseconds, Probability } from '../base/index.ts';
import { canonicalJson, parseCanonicalJson } from '../crypto/index.ts';
import { CERTIFICATE_ORIGINS, type CertificateOrigin, type CertifiedSide, type Claim } from './certify.ts';
import { DRIFT_BINS, type DriftReference } from './drift.ts';
import { ModelError } from './errors.ts';
import { clopperPearsonUpper } from './intervals.ts';

/** What is certified of one model on one set of data: file version 1, stored and hashed as canonical JSON. */
export interface Certificate {
  readonly v: 1;
  /** Of the model's plaintext bytes. */
  readonly modelDigest: Digest;
  readonly schemaId: Digest;
  readonly calibration: { readonly digest: Digest; readonly rows: number; readonly attacks: number };
  readonly origin: CertificateOrigin;
  /** For which its claims hold; those the model was trained for. */
  readonly sourceKinds: readonly string[];
  /** Of the model as it was measured: at or above it a row is called an attack. */
  readonly decisionThreshold: Probability;
  /** Each by itself, at its own confidence; at least one is certified. */
  readonly claims: Readonly<Record<CertifiedSide, Claim>>;
  /** RFC 3339 UTC. */
  readonly issuedAt: string;
  readonly expiresAt: string;
  /** The calibration rows, for live ones to be compared with. */
  readonly drift: DriftReference;
}

export const CERTIFICATE_FORMAT_VERSION = 1;
/** A longer life than this is no certificate but a hope. */
export const MAX_CERTIFICATE_DAYS = 366;
const DAY_MS: Milliseconds = 24 * 3_600_000;
const MAX_BYTES = 8 << 20;
const MAX_COLUMNS = 4_096;
/** Categories of a column and two bins more, for others and for none. */
const MAX_BINS = 258;

const digest = z.custom<Digest>(
  (value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value),
  'expected sha256: and 64 hexadecimal digits',
);
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
const share = z.number().min(0).max(1);
const count = z.int().min(0);

const CLAIM = z
  .strictObject({
    status: z.enum(['refused', ...CERTIFICATE_ORIGINS]),
    side: z.enum(['block', 'allow']),
    target: z.number().gt(0).lt(1),
    confidence: z.number().min(0.5).lt(1),
    reason: z.string().min(1).max(512),
    threshold: share,
    accepted: count,
    errors: count,
    coverage: share,
    bound: share,
    accuracy: share,
    episodes: z.strictObject({ count, errors: count, bound: share }).nullable(),
    wanting: z.int().optional(),
  })
  .refine(isBacked, 'the bound does not follow from the counts, or the claim not from the bound');

const DRIFT = z
  .strictObject({
    rows: z.int().min(1),
    columns: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(256),
          edges: z.array(z.number()).max(DRIFT_BINS).optional(),
          counts: z.array(count).min(2).max(MAX_BINS),
        }),
      )
      .min(1)
      .max(MAX_COLUMNS),
  })
  .refine(
    ({ rows, columns }) =>
      columns.every(
        ({ edges, counts }) =>
          counts.reduce((sum, n) => sum + n, 0) === rows &&
          (edges === undefined || counts.length === edges.length + 2) &&
          (edges?.every((edge, i) => i === 0 || edge > (edges[i - 1] as number)) ?? true),
      ),
    'the bins do not hold the rows',
  );

const CERTIFICATE = z
  .strictObject({
    v: z.literal(1),
    modelDigest: digest,
    schemaId: digest,
    calibration: z.strictObject({ digest, rows: z.int().min(1), attacks: count }),
    origin: z.enum(CERTIFICATE_ORIGINS),
    sourceKinds: z.array(z.string().min(1).max(64)).min(1).max(64),
    decisionThreshold: share,
    claims: z.strictObject({ block: CLAIM, allow: CLAIM }),
    issuedAt: time,
    expiresAt: time,
    drift: DRIFT,
  })
  .refine(({ claims, origin }) => {
    const { block, allow } = claims;
    if (block.side !== 'block' || allow.side !== 'allow') return false;
    const claimed = [block, allow].filter(({ status }) => status !== 'refused');
    return claimed.length > 0 && claimed.every(({ status }) => status === origin);
  }, 'expected a claim of either side, one of them certified, of the origin of the data')
  .refine(
    ({ calibration, claims, drift }) =>
      calibration.attacks <= calibration.rows &&
      drift.rows === calibration.rows &&
      Object.values(claims).every(({ accepted }) => accepted <= calibration.rows),
    'the counts do not fit the rows',
  )
  .refine(({ issuedAt, expiresAt }) => {
    const life = Date.parse(expiresAt) - Date.parse(issuedAt);
    return life > 0 && life <= MAX_CERTIFICATE_DAYS * DAY_MS;
  }, `expected an end after the beginning, within ${MAX_CERTIFICATE_DAYS} days`);

/** The certificate as it is stored, signed and hashed. Throws models.certificate-malformed for one that would not parse. */
export function encodeCertificate(certificate: Certificate): Uint8Array {
  const bytes = Buffer.from(canonicalJson(certificate));
  parseCertificate(bytes);
  return bytes;
}

/**
 * Reads a certificate: canonical JSON, no field missing or unknown, bounds that follow from their counts. Throws
 * models.certificate-malformed.
 */
export function parseCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > MAX_BYTES) throw malformed(`expected at most ${MAX_BYTES} bytes, got ${bytes.length}`);
  let value: unknown;
  try {
    value = parseCanonicalJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw malformed('expected canonical json', cause);
  }
  const parsed = CERTIFICATE.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`${issue?.path.join('.')}: ${issue?.message}`);
  }
  return parsed.data as Certificate;
}

/** A claim says no more than its counts show. */
function isBacked(claim: Omit<Claim, 'wanting'> & { readonly wanting?: number | undefined }): boolean {
  const { status, accepted, errors, target, confidence, bound, wanting, episodes } = claim;
  if (errors > accepted || (episodes !== null && episodes.errors > episodes.count)) return false;
  if (Math.abs(bound - clopperPearsonUpper(errors, accepted, confidence)) > 1e-9 * bound) return false;
  if (status !== 'refused') return bound <= target && wanting === undefined;
  return bound > target && (wanting ?? 0) > 0;
}

function malformed(message: string, cause?: unknown): ModelError {
  return new ModelError('models.certificate-malformed', message, cause === undefined ? {} : { cause });
}
