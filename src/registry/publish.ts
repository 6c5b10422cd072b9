import { randomBytes } from 'node:crypto';
import { audited } from '../audit/index.ts';
import { type Digest, faultPoint } from '../base/index.ts';
import { canonicalJson, seal, sha256, sha256Hex, wrapForStore } from '../crypto/index.ts';
import { type DetectionModel, readModel } from '../models/index.ts';
import type { VersionRow } from '../storage/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import { GATE_REPORT, type GateReport } from './gate-report.ts';
import { withGraphFacts } from './graph-facts.ts';
import { IMPORT, PUBLISH, type Publication } from './log-index.ts';
import { type ImportedFrom, MANIFEST, type Manifest, SIGNED_FILES } from './manifest.ts';
import { checkName, checkVersion, contentVersion, isContentVersion, strategyVersion } from './names.ts';
import { type OmsStatement, signStatement } from './oms.ts';
import { signSecond } from './second-signature.ts';
import { checkAgreement, weightsContext } from './verify.ts';
import { blobNames, removeUnfinished, rowDigest } from './version-files.ts';

/** A trained model that asks to be published. Training holds no keys. */
export interface Candidate {
  /** Lowercase letters, digits and dashes, a letter first, at most 63. */
  readonly name: string;
  /** A model file; copied before it is looked at. */
  readonly modelBytes: Uint8Array;
  /** Canonical JSON of the schema. */
  readonly schemaBytes: Uint8Array;
  readonly gateReport: GateReport;
  readonly provenance: {
    readonly dataDigest: Digest;
    readonly sourceKinds: readonly string[];
    readonly configuration: unknown;
    readonly seed: number;
    readonly trainer: string;
  };
}

export interface PublishOptions {
  /** Default: what the policy's versioning strategy gives, the next minor version at first. */
  readonly version?: string;
}

/** What an import adds to a publication. */
export interface Origin {
  readonly imported: ImportedFrom;
  /** Blobs kept beside the signed files, by file name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export interface PublishedVersion {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly gatesPassed: boolean;
  /** Index of the intent in the audit log. */
  readonly intent: number;
}

/** A candidate after its checks: every byte that will be stored, but the sealed weights and the signature. */
interface Prepared {
  readonly manifest: Manifest;
  readonly weights: Uint8Array;
  readonly texts: { readonly manifest: Uint8Array; readonly gates: Uint8Array; readonly schema: Uint8Array };
  readonly originFiles: Readonly<Record<string, Uint8Array>>;
  readonly gatesPassed: boolean;
}

/**
 * Checks, then intent, wraps, blobs, signature, row, outcome. The row is the point of no return: before it a crash
 * leaves files that nothing refers to, and recovery removes them. To be called by one caller at a time.
 */
export async function publishVersion(
  context: RegistryContext,
  candidate: Candidate,
  by: Actor,
  options: PublishOptions & { readonly origin?: Origin },
): Promise<PublishedVersion> {
  checkName(candidate.name, 'model name');
  const version = options.version ?? chooseVersion(context, candidate);
  checkVersion(version);
  const { name } = candidate;
  const { origin } = options;
  if (
    context.index.publication(name, version) !== undefined ||
    (await context.db.versions.find(name, version)) !== undefined
  ) {
    throw new RegistryError('registry.version-exists', `${name} has a version ${version} already`);
  }
  const createdAt = new Date(context.clock.now()).toISOString();
  const prepared = prepare(candidate, { version, author: by.principal, createdAt, origin });
  const { manifest, gatesPassed } = prepared;
  const row = {
    name,
    version,
    digest: manifest.weights.digest,
    schemaId: manifest.schemaId,
    sourceKinds: manifest.sourceKinds,
    gatesPassed,
    dataKeyId: `dk-${randomBytes(16).toString('hex')}`,
    createdAt: manifest.createdAt,
    author: manifest.author,
  };
  const publicationDetail = {
    digest: row.digest,
    manifestDigest: sha256(prepared.texts.manifest),
    schemaId: row.schemaId,
    gatesPassed,
    dataKeyId: row.dataKeyId,
    rowDigest: rowDigest(row),
    secondSignature: context.policy.postQuantum !== 'off',
  };
  const detail = { ...publicationDetail, ...(origin && { imported: origin.imported }) };
  const action = origin === undefined ? PUBLISH : IMPORT;
  const input = { action, principal: by.principal, subject: `${name}@${version}`, detail };
  return await audited(context.log, input, async (intent) => {
    const publication: Publication = { intent, time: createdAt, name, version, ...publicationDetail };
    try {
      await writeVersion(context, prepared, { ...row, intent });
    } catch (error) {
      await removeUnfinished(context, publication);
      throw error;
    }
    const { digest, manifestDigest } = publicationDetail;
    return { name, version, digest, manifestDigest, gatesPassed, intent };
  });
}

/** The version that policy gives; the digest is taken over the caller's bytes, and `prepare` holds them to it. */
export function chooseVersion(
  { index, policy, clock }: RegistryContext,
  candidate: Pick<Candidate, 'name' | 'modelBytes'>,
): string {
  const { name, modelBytes } = candidate;
  return strategyVersion(policy.versioning, {
    taken: index.versions(name),
    digest: sha256(modelBytes),
    now: clock.now(),
  });
}

async function writeVersion(context: RegistryContext, prepared: Prepared, row: VersionRow): Promise<void> {
  const { manifest, weights, texts } = prepared;
  const names = blobNames(row.name, row.version);
  const { blob, dataKey } = seal(weights, weightsContext(manifest));
  try {
    await context.db.wraps.put(await wrapForStore(context.keys, row.dataKeyId, dataKey));
  } finally {
    dataKey.wipe();
  }
  faultPoint('registry.publish.wrapped');
  await context.blobs.put(names.weights, blob);
  await context.blobs.put(names.manifest, texts.manifest);
  await context.blobs.put(names.gates, texts.gates);
  await context.blobs.put(names.schema, texts.schema);
  for (const [file, bytes] of Object.entries(prepared.originFiles)) {
    await context.blobs.put(`${names.folder}/${file}`, bytes);
  }
  faultPoint('registry.publish.written');
  const statement = statementOf(prepared);
  if (context.policy.postQuantum !== 'off') {
    await context.blobs.put(names.secondSignature, await signSecond(context.keys, statement));
    faultPoint('registry.publish.signed-second');
  }
  await context.blobs.put(names.signature, await sign(context, statement));
  faultPoint('registry.publish.signed');
  await context.db.versions.insert(row);
  faultPoint('registry.publish.recorded');
}

async function sign(context: RegistryContext, statement: OmsStatement): Promise<Uint8Array> {
  const key = await context.keys.active('model-signing');
  if (context.index.revocations.find(key.id) !== undefined) {
    throw new RegistryError(
      'registry.signer-revoked',
      'the key store offers a key that the log says is revoked',
    );
  }
  return await signStatement(statement, {
    publicKeyPem: key.publicKeyPem ?? '',
    sign: (message) => context.keys.sign(key.id, message),
  });
}

function statementOf({ manifest, weights, texts }: Prepared): OmsStatement {
  return {
    modelName: `${manifest.name}@${manifest.version}`,
    digests: new Map([
      [SIGNED_FILES.weights, sha256Hex(weights)],
      [SIGNED_FILES.manifest, sha256Hex(texts.manifest)],
      [SIGNED_FILES.gates, sha256Hex(texts.gates)],
      [SIGNED_FILES.schema, sha256Hex(texts.schema)],
    ]),
  };
}

/** Throws `registry.candidate-invalid` where the parts of the candidate do not speak of one model. */
function prepare(
  candidate: Candidate,
  given: { version: string; author: string; createdAt: string; origin: Origin | undefined },
): Prepared {
  const { version, author, createdAt, origin } = given;
  const weights = Uint8Array.from(candidate.modelBytes);
  const schema = Uint8Array.from(candidate.schemaBytes);
  const gates = GATE_REPORT.safeParse(candidate.gateReport);
  if (!gates.success) throw invalid(`gate report: ${gates.error.issues[0]?.message}`);
  const { provenance } = candidate;
  const gatesText = Buffer.from(canonicalJson(gates.data));
  const model = readCandidate(weights);
  const configuration = withGraphFacts(provenance.configuration ?? null, model);
  if (configuration === undefined) throw invalid('the configuration speaks of another graph');
  const manifest = MANIFEST.safeParse({
    v: origin === undefined ? 1 : 2,
    name: candidate.name,
    version,
    weights: { digest: sha256(weights), size: weights.length },
    schemaId: sha256(schema),
    sourceKinds: provenance.sourceKinds,
    dataDigest: provenance.dataDigest,
    configuration,
    seed: provenance.seed,
    trainer: provenance.trainer,
    gateReportDigest: sha256(gatesText),
    createdAt,
    author,
    ...(origin && { imported: origin.imported }),
  });
  if (!manifest.success) {
    const [issue] = manifest.error.issues;
    throw invalid(`${issue?.path.join('.')}: ${issue?.message}`);
  }
  if (gates.data.modelDigest !== manifest.data.weights.digest)
    throw invalid('the gates were run on another model');
  if (isContentVersion(version) && version !== contentVersion(manifest.data.weights.digest)) {
    throw invalid('the version names the digest of other weights');
  }
  try {
    checkAgreement(model, manifest.data, schema);
  } catch (cause) {
    throw disagreeing(cause);
  }
  return {
    manifest: manifest.data,
    weights,
    texts: { manifest: Buffer.from(canonicalJson(manifest.data)), gates: gatesText, schema },
    originFiles: origin?.files ?? {},
    gatesPassed: gates.data.passed,
  };
}

function readCandidate(weights: Uint8Array): DetectionModel {
  try {
    return readModel(weights);
  } catch (cause) {
    throw disagreeing(cause);
  }
}

function disagreeing(cause: unknown): RegistryError {
  const says = 'model, schema and source kinds do not agree';
  return new RegistryError('registry.candidate-invalid', says, { cause });
}

function invalid(message: string): RegistryError {
  return new RegistryError('registry.candidate-invalid', message);
}
