import { type Digest, faultPoint } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import { describeClaim, MAX_CERTIFICATE_DAYS } from '../models/index.ts';
import { auditedAttempt } from './audited-attempt.ts';
import type { Actor, RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import type { CertificationResult, CertificationTerms } from './gate-evaluator.ts';
import { CERTIFY, type Certification, type GateData } from './log-index.ts';
import { checkName, checkVersion } from './names.ts';
import { signCertificate, type VerifiedCertificate, verifyCertificate } from './verified-certificate.ts';
import type { VerifiedModel } from './verify.ts';
import { verifyStored } from './version-files.ts';

/** A certificate that was attached, and what it says. */
export interface CertifiedVersion
  extends Certification,
    Pick<CertificationResult, 'claims' | 'rows' | 'attacks'> {}

/**
 * Certifies a version on the gate data registered for its name. Nobody hands a certificate in: it is computed here, from
 * data named by digest, and signed with the evaluator's key; where the data are from is the word of the caller, and the
 * log says whose. It replaces the one before. Throws `registry.gate-data-missing`, `registry.gate-data-changed`,
 * `registry.gate-data-unfit`, `registry.certification-refused`, `registry.certification-unfit`; each stands in the log.
 */
export async function certifyVersion(
  context: RegistryContext,
  target: { readonly name: string; readonly version: string },
  terms: CertificationTerms,
  by: Actor,
): Promise<CertifiedVersion> {
  const { name, version } = target;
  checkName(name, 'model name');
  checkVersion(version);
  let result: CertificationResult | undefined;
  const intent = await auditedAttempt(
    context.log,
    { action: CERTIFY, principal: by.principal, subject: `${name}@${version}`, asked: { ...terms } },
    {
      prepare: async () => {
        const { model } = await verifyStored(context, name, version);
        result = await compute(context, model, terms);
        const { certificate } = result;
        if (certificate === undefined) {
          const { block, allow } = result.claims;
          throw new RegistryError(
            'registry.certification-refused',
            `${describeClaim(block)}; ${describeClaim(allow)}`,
          );
        }
        const signed = await signCertificate(context.keys, certificate);
        const detail = {
          certificate: sha256(signed),
          origin: certificate.origin,
          modelDigest: certificate.modelDigest,
          calibrationDigest: certificate.calibration.digest,
          expiresAt: certificate.expiresAt,
        };
        // Read back as everybody else will: what does not verify is refused here and not when it is needed.
        await verifyCertificate(context.keys, signed, model, detail);
        return { signed, detail };
      },
      detail: ({ detail }) => ({ ...detail, target: terms.target }),
      work: async ({ signed, detail }, index) => {
        await context.blobs.put(certificateBlob(detail.certificate), signed);
        faultPoint('registry.certify.written');
        return index;
      },
    },
  );
  await context.index.catchUp();
  const made = context.index.certification(name, version);
  if (made?.intent !== intent || result === undefined) {
    throw new RegistryError(
      'registry.version-not-in-log',
      `the certificate of ${name}@${version} is not there`,
    );
  }
  return { ...made, claims: result.claims, rows: result.rows, attacks: result.attacks };
}

/** The certificate of a verified model; undefined where it has none. Throws as `verifyCertificate`. */
export async function readCertificate(
  context: RegistryContext,
  model: VerifiedModel,
): Promise<VerifiedCertificate | undefined> {
  const logged = context.index.certification(model.name, model.version);
  if (logged === undefined) return undefined;
  const blob = certificateBlob(logged.certificate);
  if (!(await context.blobs.has(blob))) {
    throw new RegistryError(
      'registry.certification-mismatch',
      `the certificate ${logged.certificate} is gone`,
    );
  }
  return await verifyCertificate(context.keys, await context.blobs.get(blob), model, logged);
}

async function compute(
  context: RegistryContext,
  candidate: VerifiedModel,
  terms: CertificationTerms,
): Promise<CertificationResult> {
  const { target, expiresDays } = terms;
  if (!(target > 0 && target < 1) || !(expiresDays > 0 && expiresDays <= MAX_CERTIFICATE_DAYS)) {
    throw unfit(`expected a target in (0, 1) and at most ${MAX_CERTIFICATE_DAYS} days`);
  }
  const data = context.index.gateData(candidate.name);
  const { evaluator } = context;
  if (data === undefined || evaluator === undefined) {
    throw new RegistryError(
      'registry.gate-data-missing',
      `no gate data are registered for ${candidate.name}`,
    );
  }
  if (data.schemaId !== candidate.schemaId) {
    throw new RegistryError(
      'registry.gate-data-unfit',
      `the gate data of ${candidate.name} are read by another schema than the model's; register new ones`,
    );
  }
  if (data.digest === candidate.manifest.dataDigest) {
    throw unfit(
      'the model was trained on the registered data; a certificate needs rows that it has not seen',
    );
  }
  const { path, labels } = data;
  const files = { path, ...(labels !== undefined && { labels }) };
  const result = await attempt(() => evaluator.certify({ ...terms, files, candidate }), data);
  const certificate = result.certificate;
  if (result.digest !== data.digest || (certificate && certificate.calibration.digest !== data.digest)) {
    throw new RegistryError(
      'registry.gate-data-changed',
      `the gate data of ${data.name} are not those registered at audit entry ${data.intent}`,
    );
  }
  return result;
}

async function attempt<T>(work: () => Promise<T>, { name }: GateData): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    throw new RegistryError('registry.gate-data-unfit', `${name} could not be certified on its gate data`, {
      cause,
    });
  }
}

/** Where a signed certificate lies. */
function certificateBlob(certificate: Digest): string {
  return `certificates/${certificate.replace('sha256:', '')}.json`;
}

function unfit(message: string): RegistryError {
  return new RegistryError('registry.certification-unfit', message);
}
