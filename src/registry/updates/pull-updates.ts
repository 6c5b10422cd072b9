import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { audited } from '../../audit/index.ts';
import type { Digest } from '../../base/index.ts';
import { sha256, sha256Hex } from '../../crypto/index.ts';
import type { Actor } from '../context.ts';
import { readExport, verifyExportFiles } from '../export.ts';
import type { VerifiedModel } from '../verify.ts';
import { UpdateError } from './errors.ts';
import { type OfferedModel, readOfferedModels } from './offered-model.ts';
import { type UpdateParts, withWorkFolder } from './publish-updates.ts';
import { METADATA_FOLDER, TARGETS_FOLDER } from './repository-folder.ts';
import { urlBelow } from './target-name.ts';
import { readTrustedRoot, trustRoot, type UpdateClient, withUpdateClient } from './update-client.ts';

export interface PullUpdatesOptions {
  /** Of the repository, as `serve-repo` prints it: `metadata/` and `targets/` lie below. */
  readonly url: string;
  /** Root metadata that came another way; needed once for each repository. */
  readonly root?: Uint8Array;
  /** Names of models; everything that is offered by default. */
  readonly models?: readonly string[];
}

export interface PulledModel {
  readonly name: string;
  /** Its version here; the import gives it one of our own. */
  readonly version: string;
  /** Its version there. */
  readonly offered: string;
  readonly digest: Digest;
  readonly schemaId: Digest;
  /** `present` where the registry had this very model already. */
  readonly state: 'imported' | 'present';
}

export interface PulledUpdates {
  readonly url: string;
  /** Versions of the repository's metadata that are trusted now. */
  readonly versions: Readonly<Record<'root' | 'timestamp' | 'snapshot' | 'targets', number>>;
  readonly models: readonly PulledModel[];
}

/**
 * Takes over what another site's repository offers: TUF says which files count, their export's signature by a key that
 * TUF lists says whose models they are, and the registry's gates decide whether they come in. To be called by one
 * caller at a time. Throws `registry.update-*`, what verification throws and what the import throws.
 */
export async function pullUpdates(
  parts: UpdateParts,
  options: PullUpdatesOptions,
  by: Actor,
): Promise<PulledUpdates> {
  const url = checkAddress(options.url);
  const input = {
    action: 'model.pull',
    principal: by.principal,
    subject: url,
    detail: {
      models: options.models === undefined ? null : [...options.models],
      root: options.root === undefined ? null : sha256(options.root),
    },
  };
  return await audited(parts.log, input, async () => {
    const metadataFolder = join(parts.folder, 'trusted', sha256Hex(url).slice(0, 32));
    await trustOnce(metadataFolder, options.root);
    const urls = { metadataUrl: urlBelow(url, METADATA_FOLDER), targetsUrl: urlBelow(url, TARGETS_FOLDER) };
    return await withUpdateClient({ metadataFolder, ...urls }, async (client) => {
      await client.refresh();
      const models: PulledModel[] = [];
      for (const offered of choose(readOfferedModels(await client.targets()), options.models)) {
        models.push(await pullModel(parts, client, offered, { url, by }));
      }
      return { url, versions: await client.versions(), models };
    });
  });
}

async function pullModel(
  parts: UpdateParts,
  client: UpdateClient,
  offered: OfferedModel,
  from: { readonly url: string; readonly by: Actor },
): Promise<PulledModel> {
  const { signer, ...claims } = offered.claims;
  const present = (await parts.registry.list(claims.name)).find(
    ({ digest, schemaId, isInLog }) => digest === claims.digest && schemaId === claims.schemaId && isInLog,
  );
  if (present !== undefined)
    return { ...claims, version: present.version, offered: claims.version, state: 'present' };
  return await withWorkFolder(parts.folder, async (scratch) => {
    const folder = join(scratch, 'model');
    await mkdir(folder);
    for (const [file, target] of offered.targets) await client.download(target, join(folder, file));
    const files = await readExport(folder);
    const { model } = await verifyExportFiles(files, [offered.publicKeyPem]);
    checkClaims(offered, model);
    const { version } = await parts.registry.importFiles(files, [offered.publicKeyPem], from.by);
    await parts.log.append({
      kind: 'event',
      action: 'model.pulled',
      principal: from.by.principal,
      subject: `${claims.name}@${version}`,
      detail: {
        url: from.url,
        signer,
        offered: claims.version,
        digest: claims.digest,
        schemaId: claims.schemaId,
      },
    });
    return { ...claims, version, offered: claims.version, state: 'imported' };
  });
}

/** Throws `registry.update-address`. The one form under which the repository is remembered. */
function checkAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    url !== undefined && url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || !['http:', 'https:'].includes(url.protocol) || text.length > 1_024) {
    throw new UpdateError('registry.update-address', 'expected http://host/path or https://host/path');
  }
  return url.href.replace(/\/+$/, '');
}

/** A root is taken over at the first pull only; later ones come from the repository, each signed by the one before. */
async function trustOnce(metadataFolder: string, root: Uint8Array | undefined): Promise<void> {
  const first = await readTrustedRoot(metadataFolder);
  if (first === undefined) {
    if (root === undefined) {
      throw new UpdateError(
        'registry.update-root-needed',
        'expected a root (--root) at the first pull from this repository: nothing is trusted about it yet',
      );
    }
    await trustRoot(metadataFolder, root);
  } else if (root !== undefined && sha256(root) !== sha256(first)) {
    throw new UpdateError(
      'registry.update-root-differs',
      `another root was trusted at the first pull; remove ${metadataFolder} to begin anew`,
    );
  }
}

function choose(
  offered: readonly OfferedModel[],
  names: readonly string[] | undefined,
): readonly OfferedModel[] {
  for (const name of names ?? []) {
    if (!offered.some(({ claims }) => claims.name === name)) {
      throw new UpdateError(
        'registry.update-model-unknown',
        `the repository offers no model ${JSON.stringify(name)}`,
      );
    }
  }
  return offered.filter(({ claims }) => names?.includes(claims.name) ?? true);
}

/** What TUF says of the model and what its own signed manifest says must be one. */
function checkClaims({ claims }: OfferedModel, model: VerifiedModel): void {
  const { name, version, digest, schemaId } = model;
  const isSame =
    name === claims.name &&
    version === claims.version &&
    digest === claims.digest &&
    schemaId === claims.schemaId;
  if (isSame) return;
  throw new UpdateError(
    'registry.update-model-mismatch',
    `the repository says ${claims.name}@${claims.version}, the signed manifest ${name}@${version}`,
  );
}
