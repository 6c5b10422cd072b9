import type { Digest } from '../base/index.ts';
import { type KeyStore, sha256 } from '../crypto/index.ts';
import { type Certificate, encodeCertificate, parseCertificate } from '../models/index.ts';
import { RegistryError } from './errors.ts';
import { openByEvaluator, signByEvaluator } from './evaluator-envelope.ts';
import type { Certification } from './log-index.ts';
import type { VerifiedModel } from './verify.ts';

/** Lets `VerifiedCertificate` be built in this file alone. */
const TOKEN = Symbol('verified');
const PAYLOAD_TYPE = 'application/vnd.ai-guardian.certificate+json';

/** A certificate that the evaluator signed and the log names, of one verified model. As with `VerifiedModel`, the engine asks. */
export class VerifiedCertificate {
  readonly #brand = true;
  readonly certificate: Certificate;
  /** Of the signed envelope, as the log names it. */
  readonly digest: Digest;
  /** Id of the evaluator's key. */
  readonly signedBy: string;

  /** Throws `registry.unverified-construction` for everyone but `verifyCertificate`. */
  constructor(token: symbol, parts: Pick<VerifiedCertificate, 'certificate' | 'digest' | 'signedBy'>) {
    if (token !== TOKEN || new.target !== VerifiedCertificate) {
      throw new RegistryError(
        'registry.unverified-construction',
        'a verified certificate comes from verification only',
      );
    }
    this.certificate = parts.certificate;
    this.digest = parts.digest;
    this.signedBy = parts.signedBy;
    Object.freeze(this);
  }

  static isVerified(value: unknown): value is VerifiedCertificate {
    return typeof value === 'object' && value !== null && #brand in value && value.#brand;
  }
}

/** Signs a certificate with the evaluator's key. Throws what the key store throws, models.certificate-malformed. */
export function signCertificate(keys: KeyStore, certificate: Certificate): Promise<Uint8Array> {
  return signByEvaluator(keys, PAYLOAD_TYPE, encodeCertificate(certificate));
}

/**
 * Verifies a signed certificate of a verified model: the envelope the log names, the evaluator's signature, its form,
 * then that it speaks of this model, schema, source kinds, and of other data than it was trained on. Its expiry is for
 * whoever uses it to watch. Throws `registry.evidence-tampered`, `registry.certification-mismatch`.
 */
export async function verifyCertificate(
  keys: Pick<KeyStore, 'find'>,
  bytes: Uint8Array,
  model: VerifiedModel,
  logged: Pick<Certification, 'certificate' | 'origin' | 'modelDigest' | 'calibrationDigest' | 'expiresAt'>,
): Promise<VerifiedCertificate> {
  const copy = Uint8Array.from(bytes);
  const digest = sha256(copy);
  if (digest !== logged.certificate) throw mismatch('the file is not the one that the audit log names');
  const { payload, signedBy } = await openByEvaluator(keys, PAYLOAD_TYPE, copy);
  let certificate: Certificate;
  try {
    certificate = parseCertificate(payload);
  } catch (cause) {
    throw new RegistryError('registry.certification-mismatch', 'the certificate is malformed', { cause });
  }
  const { calibration, sourceKinds } = certificate;
  const checks: Readonly<Record<string, boolean>> = {
    'the model': certificate.modelDigest === model.digest && logged.modelDigest === model.digest,
    'the schema': certificate.schemaId === model.schemaId,
    'the source kinds': sourceKinds.every((kind) => model.sourceKinds.includes(kind)),
    'the origin in the audit log': certificate.origin === logged.origin,
    'the data in the audit log': calibration.digest === logged.calibrationDigest,
    'the expiry in the audit log': certificate.expiresAt === logged.expiresAt,
    'data that the model was not trained on': calibration.digest !== model.manifest.dataDigest,
    'the columns of the model':
      certificate.drift.columns.length === model.model.columnNames.length + 1 &&
      model.model.columnNames.every((name, c) => certificate.drift.columns[c]?.name === name),
  };
  for (const [what, holds] of Object.entries(checks)) {
    if (!holds) throw mismatch(`the certificate does not fit ${what}`);
  }
  return new VerifiedCertificate(TOKEN, { certificate, digest, signedBy });
}

function mismatch(message: string): RegistryError {
  return new RegistryError('registry.certification-mismatch', message);
}
