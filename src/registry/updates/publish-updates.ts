import { createPublicKey } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type AuditLog, audited } from '../../audit/index.ts';
import type { Clock } from '../../base/index.ts';
import { type KeyStore, sha256, sha256Hex } from '../../crypto/index.ts';
import type { Actor } from '../context.ts';
import { verifyExport } from '../export.ts';
import { SIGNATURE_FILE } from '../manifest.ts';
import { keyHint } from '../oms.ts';
import type { Registry } from '../registry.ts';
import { UpdateError } from './errors.ts';
import {
  DEFAULT_EXPIRY,
  type ModelToOffer,
  nextRepository,
  type RepositoryExpiry,
  type RepositoryVersions,
} from './next-repository.ts';
import { modelTargetName } from './offered-model.ts';
import {
  consistentName,
  METADATA_FOLDER,
  readRepositoryFiles,
  readRepositoryState,
  writeMetadata,
} from './repository-folder.ts';
import { updateSigners } from './update-keys.ts';

/** What the update service is built from. */
export interface UpdateParts {
  readonly registry: Pick<Registry, 'list' | 'exportTo' | 'importFiles'>;
  readonly keys: KeyStore;
  readonly log: AuditLog;
  readonly clock: Clock;
  /** Below the state folder: metadata of our own repository, trusted metadata of others', work in progress. */
  readonly folder: string;
}

export interface PublishUpdatesOptions {
  /** Names of models; every model that has a champion by default. */
  readonly models?: readonly string[];
  readonly expiry?: Partial<RepositoryExpiry>;
}

/** A whole repository, to be laid out in a folder by `mirrorRepository`. */
export interface PublishedUpdates {
  readonly versions: RepositoryVersions;
  /** `name@version` of each model that is offered. */
  readonly models: readonly string[];
  /** In the order in which they must become durable. */
  readonly metadata: readonly (readonly [name: string, bytes: Uint8Array])[];
  readonly targets: readonly (readonly [name: string, bytes: Uint8Array])[];
}

/**
 * Offers champions in our TUF repository: its next metadata are signed and kept below the state folder, the timestamp
 * last, so that versions go up whatever becomes of the folder that is served. To be called by one caller at a time.
 * Throws `registry.update-model-unknown` for a model without a champion, `registry.update-root-lost`,
 * `registry.update-repository-damaged`.
 */
export async function publishUpdates(
  parts: UpdateParts,
  options: PublishUpdatesOptions,
  by: Actor,
): Promise<PublishedUpdates> {
  const { registry, keys, log, clock } = parts;
  const folder = join(parts.folder, 'published', METADATA_FOLDER);
  const champions = (await registry.list()).filter(({ aliases }) => aliases.includes('champion'));
  for (const name of options.models ?? []) {
    if (!champions.some((each) => each.name === name)) {
      throw new UpdateError(
        'registry.update-model-unknown',
        `no champion of ${JSON.stringify(name)} to offer`,
      );
    }
  }
  const chosen = champions.filter(({ name }) => options.models?.includes(name) ?? true);
  const named = chosen.map(({ name, version }) => `${name}@${version}`);
  const input = {
    action: 'repo.publish',
    principal: by.principal,
    subject: 'updates',
    detail: { models: chosen.map(({ name, version, digest }) => ({ name, version, digest })) },
  };
  return await audited(log, input, async () => {
    const modelKeys = await trustedModelKeys(keys);
    const models: ModelToOffer[] = [];
    for (const reference of named) models.push(await readModel(parts, reference, modelKeys, by));
    const next = await nextRepository({
      previous: await readRepositoryState(folder),
      models,
      modelKeys,
      signers: await updateSigners(keys),
      expiry: { ...DEFAULT_EXPIRY, ...options.expiry },
      now: clock.now(),
    });
    await writeMetadata(folder, next.files);
    await log.append({
      kind: 'event',
      action: 'repo.published',
      principal: by.principal,
      subject: 'updates',
      detail: { ...next.versions, timestampDigest: sha256(next.files.at(-1)?.[1] ?? new Uint8Array()) },
    });
    const targets = models.flatMap(({ claims, files }) =>
      Object.entries(files).map(
        ([file, bytes]) => [consistentName(modelTargetName(claims, file), sha256Hex(bytes)), bytes] as const,
      ),
    );
    return { versions: next.versions, models: named, metadata: await readRepositoryFiles(folder), targets };
  });
}

/** Runs `work` in a folder that is gone afterwards. */
export async function withWorkFolder<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(parent, '.scratch-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type ModelKey = { readonly hint: string; readonly publicKeyPem: string };

async function trustedModelKeys(keys: KeyStore): Promise<readonly ModelKey[]> {
  return (await keys.list()).flatMap(({ purpose, state, publicKeyPem }) =>
    purpose === 'model-signing' && state !== 'revoked' && publicKeyPem !== undefined
      ? [{ hint: keyHint(createPublicKey(publicKeyPem)), publicKeyPem }]
      : [],
  );
}

/** Exports a model as it would be by hand, and verifies the very files that will be offered. */
async function readModel(
  { registry, folder }: UpdateParts,
  reference: string,
  modelKeys: readonly ModelKey[],
  by: Actor,
): Promise<ModelToOffer> {
  return await withWorkFolder(folder, async (scratch) => {
    const exported = join(scratch, 'model');
    await registry.exportTo(reference, exported, by);
    const names = (await readdir(exported)).sort();
    const read = await Promise.all(
      names.map(async (file) => [file, await readFile(join(exported, file))] as const),
    );
    const files = Object.fromEntries(read);
    const signer = JSON.parse(String(files[SIGNATURE_FILE])).verificationMaterial.publicKey.hint;
    const { name, version, digest, schemaId } = await verifyExport(
      exported,
      modelKeys.filter(({ hint }) => hint === signer).map(({ publicKeyPem }) => publicKeyPem),
    );
    return { claims: { name, version, digest, schemaId, signer }, files };
  });
}
