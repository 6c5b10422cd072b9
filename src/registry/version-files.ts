import type { Digest } from '../base/index.ts';
import { canonicalJson, isKeysAway, type KeyInfo, type KeyStore, sha256 } from '../crypto/index.ts';
import type { VersionRow } from '../storage/index.ts';
import type { RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import type { Publication } from './log-index.ts';
import { SIGNATURE_FILE, SIGNED_FILES } from './manifest.ts';
import type { TrustedKey } from './oms.ts';
import { SECOND_SIGNATURE_FILE } from './second-signature.ts';
import { refuseRemoved } from './tombstone.ts';
import { type VerifiedModel, verifyModel } from './verify.ts';

/** Names of a version's blobs. The weights are sealed, hence their other ending. */
export function blobNames(name: string, version: string) {
  const folder = `models/${name}/${version}`;
  return {
    folder,
    weights: `${folder}/model.agm.sealed`,
    manifest: `${folder}/${SIGNED_FILES.manifest}`,
    gates: `${folder}/${SIGNED_FILES.gates}`,
    schema: `${folder}/${SIGNED_FILES.schema}`,
    signature: `${folder}/${SIGNATURE_FILE}`,
    secondSignature: `${folder}/${SECOND_SIGNATURE_FILE}`,
  };
}

/** The store's model-signing keys, each with whether its signature of this publication counts. Retired keys' do. */
export async function trustedKeys(
  { keys, index }: Pick<RegistryContext, 'keys' | 'index'>,
  publication: Publication,
  purpose: 'model-signing' | 'post-quantum-signing' = 'model-signing',
): Promise<readonly TrustedKey[]> {
  return (await publicParts(keys)).flatMap((key) =>
    key.purpose === purpose && key.publicKeyPem !== undefined
      ? [{ publicKeyPem: key.publicKeyPem, revoked: index.revocations.covers(key, publication) }]
      : [],
  );
}

/** Public parts of the keys of each store, as they were when it could last be asked. */
const lastSeen = new WeakMap<KeyStore, readonly KeyInfo[]>();

/**
 * While a store is away its public parts are those last seen: signatures and what the log says of revocations are still
 * checked, so that nothing in memory stands in for a version that would not verify.
 */
async function publicParts(keys: KeyStore): Promise<readonly KeyInfo[]> {
  try {
    const found = await keys.list();
    lastSeen.set(keys, found);
    return found;
  } catch (error) {
    const seen = isKeysAway(error) ? lastSeen.get(keys) : undefined;
    if (seen === undefined) throw error;
    return seen;
  }
}

/** Reads and verifies a stored version. Throws `registry.*` of category security, or `registry.version-unknown`. */
export async function verifyStored(
  context: RegistryContext,
  name: string,
  version: string,
): Promise<{ model: VerifiedModel; weights: Uint8Array }> {
  const publication = await findPublication(context, name, version);
  refuseRemoved(context, name, version);
  const names = blobNames(name, version);
  const [signature, manifest, gates, schema, blob] = await Promise.all(
    [names.signature, names.manifest, names.gates, names.schema, names.weights].map((blobName) =>
      readBlob(context, blobName),
    ),
  );
  if (!signature || !manifest || !gates || !schema || !blob) throw missing(names.folder);
  return await verifyModel({
    signature,
    manifest,
    gates,
    schema,
    weights: {
      kind: 'sealed',
      blob,
      keys: context.keys,
      wraps: () => context.db.wraps.get(publication.dataKeyId),
    },
    trusted: await trustedKeys(context, publication),
    second: {
      bytes: await readBlob(context, names.secondSignature),
      isRequired: publication.secondSignature || context.policy.postQuantum === 'require',
      trusted: await trustedKeys(context, publication, 'post-quantum-signing'),
    },
    expected: { name, version, manifestDigest: publication.manifestDigest },
  });
}

/**
 * What the log says of a version, after the database's row was compared with it. Throws `registry.version-unknown`
 * where neither knows it and `registry.version-not-in-log` where they disagree.
 */
export async function findPublication(
  context: RegistryContext,
  name: string,
  version: string,
): Promise<Publication> {
  const row = await context.db.versions.find(name, version);
  const publication = context.index.publication(name, version);
  if (row === undefined && publication === undefined) {
    throw new RegistryError('registry.version-unknown', `${name} has no version ${version}`);
  }
  if (
    row === undefined ||
    publication === undefined ||
    row.intent !== publication.intent ||
    rowDigest(row) !== publication.rowDigest
  ) {
    throw new RegistryError(
      'registry.version-not-in-log',
      `database and audit log disagree about ${name}@${version}`,
    );
  }
  return publication;
}

/** Over every column but the intent, which is not known yet when the digest is logged. */
export function rowDigest(row: Omit<VersionRow, 'intent'>): Digest {
  const { name, version, digest, schemaId, sourceKinds, gatesPassed, dataKeyId, createdAt, author } = row;
  return sha256(
    canonicalJson({
      name,
      version,
      digest,
      schemaId,
      sourceKinds,
      gatesPassed,
      dataKeyId,
      createdAt,
      author,
    }),
  );
}

/**
 * Removes what a publication that did not come to its end left behind. Nothing of a version that the log calls
 * published is touched, even where the database has lost its row.
 */
export async function removeUnfinished(context: RegistryContext, publication: Publication): Promise<void> {
  const { name, version, intent, dataKeyId } = publication;
  const published = context.index.publication(name, version);
  if (published?.dataKeyId !== dataKeyId) await context.db.wraps.delete(dataKeyId);
  if (published !== undefined) return;
  const row = await context.db.versions.find(name, version);
  if (row?.intent === intent) await context.db.versions.delete(name, version);
  for (const blob of await context.blobs.list(blobNames(name, version).folder))
    await context.blobs.delete(blob);
}

/** A blob that is gone is a change like any other. */
async function readBlob(context: RegistryContext, name: string): Promise<Uint8Array | undefined> {
  return (await context.blobs.has(name)) ? await context.blobs.get(name) : undefined;
}

function missing(folder: string): RegistryError {
  return new RegistryError('registry.file-tampered', `a file is missing in ${folder}`);
}
