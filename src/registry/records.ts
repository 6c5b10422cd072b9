import { GuardianError } from '../base/index.ts';
import { parseCanonicalJson, sha256, sha256Hex } from '../crypto/index.ts';
import type { RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import { GATE_REPORT, type GateReport } from './gate-report.ts';
import type { Publication } from './log-index.ts';
import { MANIFEST, type Manifest, SIGNED_FILES } from './manifest.ts';
import { verifyBundle } from './oms.ts';
import { blobNames, findPublication, trustedKeys } from './version-files.ts';

/** What is known of a version without its weights; all of it is also there of an erased one. */
export interface VersionRecord {
  readonly publication: Publication;
  readonly manifest: Manifest;
  readonly gates: GateReport;
  readonly schema: { readonly name?: string; readonly columns: readonly Record<string, unknown>[] };
  /** Hexadecimal SHA-256 of the signature file. */
  readonly signatureDigest: string;
}

/**
 * Reads manifest, gate report and schema of a version after their digests were held against the audit log and the
 * signature. No key is used. Throws `registry.*` of category security, or `registry.version-unknown`.
 */
export async function readRecord(
  context: RegistryContext,
  name: string,
  version: string,
): Promise<VersionRecord> {
  const publication = await findPublication(context, name, version);
  const names = blobNames(name, version);
  try {
    const [manifestBytes, gateBytes, schemaBytes, signature] = await Promise.all([
      context.blobs.get(names.manifest),
      context.blobs.get(names.gates),
      context.blobs.get(names.schema),
      context.blobs.get(names.signature),
    ]);
    const manifest: Manifest = MANIFEST.parse(parseJson(manifestBytes));
    const { digests } = verifyBundle(signature, await trustedKeys(context, publication));
    const holds =
      sha256(manifestBytes) === publication.manifestDigest &&
      sha256(gateBytes) === manifest.gateReportDigest &&
      sha256(schemaBytes) === manifest.schemaId &&
      digests.get(SIGNED_FILES.manifest) === sha256Hex(manifestBytes) &&
      `sha256:${digests.get(SIGNED_FILES.weights)}` === manifest.weights.digest;
    if (!holds) throw tampered(name, version);
    const gates: GateReport = GATE_REPORT.parse(parseJson(gateBytes));
    const schema = JSON.parse(new TextDecoder().decode(schemaBytes)) as VersionRecord['schema'];
    return { publication, manifest, gates, schema, signatureDigest: sha256Hex(signature) };
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    throw tampered(name, version, cause);
  }
}

function parseJson(bytes: Uint8Array): unknown {
  return parseCanonicalJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

function tampered(name: string, version: string, cause?: unknown): RegistryError {
  const why = cause instanceof GuardianError ? `: ${cause.code}` : '';
  return new RegistryError(
    'registry.file-tampered',
    `a file of ${name}@${version} is missing or differs from what was signed${why}`,
    cause === undefined ? {} : { cause },
  );
}
