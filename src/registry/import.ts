import { audited } from '../audit/index.ts';
import { canonicalJson, sha256 } from '../crypto/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { runDoorGates } from './door-gates.ts';
import { type ExportFiles, verifyExportFiles } from './export.ts';
import { IMPORT } from './log-index.ts';
import { ORIGIN_FILES, SIGNATURE_FILE } from './manifest.ts';
import { checkName, checkVersion } from './names.ts';
import { bundleSigner } from './oms.ts';
import { chooseVersion, type PublishedVersion, publishVersion } from './publish.ts';
import type { VerifiedModel } from './verify.ts';

export interface ImportOptions {
  /** Name to take it in under; its own by default. */
  readonly name?: string;
  /** Default: what the versioning strategy gives; never the version it had elsewhere. */
  readonly version?: string;
  /** PEM of root certificates, trusted beside the keys: see `verifyCertificates` for what is demanded of a signer. */
  readonly rootCertificatesPem?: readonly string[];
}

/** The evaluator's report of an import, beside the origin's files. */
const DOOR_REPORT = 'origin-evaluator.json';

/**
 * Takes in a version that another registry exported: verifies it with keys or roots the caller trusts, runs the local gates, and
 * publishes it signed anew. The manifest says from whom it came; the signature, manifest and gate report of the origin
 * are kept. A refusal stands in the log. Throws what verification, the gates and publication throw.
 */
export async function importVersion(
  context: RegistryContext,
  files: ExportFiles,
  trustedKeysPem: readonly string[],
  by: Actor,
  options: ImportOptions,
): Promise<PublishedVersion> {
  if (options.name !== undefined) checkName(options.name, 'model name');
  if (options.version !== undefined) checkVersion(options.version);
  let prepared: Awaited<ReturnType<typeof prepareImport>>;
  try {
    prepared = await prepareImport(context, files, trustedKeysPem, options);
  } catch (error) {
    // Nothing that came along is believed, its name neither: only what was asked for is told.
    const subject = options.name ?? 'import';
    const what = { action: IMPORT, principal: by.principal, subject, detail: {} };
    return await audited(context.log, what, async () => {
      throw error;
    });
  }
  return await publishVersion(context, prepared.candidate, by, {
    version: prepared.version,
    origin: prepared.origin,
  });
}

async function prepareImport(
  context: RegistryContext,
  files: ExportFiles,
  trustedKeysPem: readonly string[],
  options: ImportOptions,
) {
  const { model, weights } = await verifyExportFiles(files, trustedKeysPem, {
    rootCertificatesPem: options.rootCertificatesPem ?? [],
    at: context.clock.now(),
  });
  const { manifest } = model;
  const name = options.name ?? model.name;
  const version = options.version ?? chooseVersion(context, { name, modelBytes: weights });
  const door = await runDoorGates(context, { name, version }, model, weights);
  return {
    version,
    candidate: {
      name,
      modelBytes: weights,
      schemaBytes: model.schemaBytes,
      gateReport: door.gates === 'evaluator' ? door.report.gates : model.gates,
      provenance: provenanceOf(model),
    },
    origin: {
      imported: {
        name: manifest.name,
        version: manifest.version,
        author: manifest.author,
        createdAt: manifest.createdAt,
        manifestDigest: sha256(canonicalJson(manifest)),
        signer: bundleSigner(files[SIGNATURE_FILE] as Uint8Array),
        gates: door.gates,
      },
      files: {
        [ORIGIN_FILES.manifest]: Buffer.from(canonicalJson(manifest)),
        [ORIGIN_FILES.gates]: Buffer.from(canonicalJson(model.gates)),
        [ORIGIN_FILES.signature]: Uint8Array.from(files[SIGNATURE_FILE] as Uint8Array),
        ...(door.gates === 'evaluator' && { [DOOR_REPORT]: door.signed }),
      },
    },
  };
}

function provenanceOf({ manifest }: VerifiedModel) {
  const { dataDigest, sourceKinds, configuration, seed, trainer } = manifest;
  return { dataDigest, sourceKinds, configuration, seed, trainer };
}
