import { constants } from 'node:fs';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Metadata, MetadataKind } from '@tufjs/models';
import { faultPoint, writeFileAtomic } from '../../base/index.ts';
import { UpdateError } from './errors.ts';
import type { RepositoryState } from './next-repository.ts';
import { checkTargetName, isPlainName } from './target-name.ts';

/** Below a repository's folder, and below its URL. */
export const METADATA_FOLDER = 'metadata';
export const TARGETS_FOLDER = 'targets';

type MetadataFiles = readonly (readonly [name: string, bytes: Uint8Array])[];

/**
 * Reads and verifies the metadata in force: the newest root of an unbroken chain, and what the timestamp leads to.
 * Empty where there is none yet. Throws `registry.update-repository-damaged`.
 */
export async function readRepositoryState(folder: string): Promise<Partial<RepositoryState>> {
  const roots = await readRoots(folder);
  const last = roots.at(-1);
  if (last === undefined) return {};
  try {
    const parsed = roots.map(([, bytes]) => Metadata.fromJSON(MetadataKind.Root, parse(bytes)));
    for (const [i, next] of parsed.entries()) {
      (parsed[i - 1] ?? next).verifyDelegate('root', next);
      next.verifyDelegate('root', next);
      if (next.signed.version !== i + 1) throw damaged(`${i + 1}.root.json has another version`);
    }
    const root = parsed.at(-1) as Metadata<RepositoryState['root']['signed']>;
    const bytes = await readIfThere(join(folder, 'timestamp.json'));
    if (bytes === undefined) return { root };
    // A root that came after the timestamp may have other keys: an earlier one vouches for the timestamp then.
    const verify = (role: string, metadata: Parameters<typeof root.verifyDelegate>[1]) =>
      verifiedByAny(parsed, role, metadata);
    const timestamp = Metadata.fromJSON(MetadataKind.Timestamp, parse(bytes));
    verify('timestamp', timestamp);
    const snapshotBytes = await readFileOf(folder, `${timestamp.signed.snapshotMeta.version}.snapshot.json`);
    timestamp.signed.snapshotMeta.verify(snapshotBytes);
    const snapshot = Metadata.fromJSON(MetadataKind.Snapshot, parse(snapshotBytes));
    verify('snapshot', snapshot);
    const meta = snapshot.signed.meta['targets.json'];
    const targetsBytes = await readFileOf(folder, `${meta?.version ?? 0}.targets.json`);
    meta?.verify(targetsBytes);
    const targets = Metadata.fromJSON(MetadataKind.Targets, parse(targetsBytes));
    verify('targets', targets);
    return { root, timestamp, snapshot, targets };
  } catch (cause) {
    if (cause instanceof UpdateError) throw cause;
    throw damaged('the published metadata do not verify', cause);
  }
}

/** Every file that a client of any age needs: all roots, the snapshot and targets in force, the timestamp last. */
export async function readRepositoryFiles(folder: string): Promise<MetadataFiles> {
  const { snapshot, targets } = await readRepositoryState(folder);
  const names = [
    `${targets?.signed.version ?? 0}.targets.json`,
    `${snapshot?.signed.version ?? 0}.snapshot.json`,
    'timestamp.json',
  ];
  const rest = await Promise.all(names.map(async (name) => [name, await readFileOf(folder, name)] as const));
  return [...(await readRoots(folder)), ...rest];
}

/** Writes each file whole, one after the other in the order given; a crash in between leaves the old timestamp. */
export async function writeMetadata(folder: string, files: MetadataFiles): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const [name, bytes] of files) {
    faultPoint('registry.updates.before-metadata');
    await writeFileAtomic(join(folder, name), bytes, 0o644);
    faultPoint('registry.updates.after-metadata');
  }
}

/** Where a target lies: its digest stands before the file's name, so that old and new ones live side by side. */
export function consistentName(name: string, sha256: string): string {
  checkTargetName(name);
  const slash = name.lastIndexOf('/') + 1;
  return `${name.slice(0, slash)}${sha256}.${name.slice(slash)}`;
}

/**
 * Makes `folder` a copy of a repository: targets first, then metadata in the order given. Refuses names that are not
 * plain. Throws `registry.update-target-refused`, and `registry.update-refused` where the folder holds a newer one.
 */
export async function mirrorRepository(
  folder: string,
  repository: { readonly metadata: MetadataFiles; readonly targets: MetadataFiles },
): Promise<void> {
  const { metadata, targets } = repository;
  for (const [name] of [...metadata, ...targets]) {
    if (!isPlainName(name)) {
      throw new UpdateError(
        'registry.update-target-refused',
        'expected plain names of files in the repository',
      );
    }
  }
  await checkNotNewer(join(folder, METADATA_FOLDER, 'timestamp.json'), metadata.at(-1)?.[1]);
  for (const [name, bytes] of targets) {
    const path = join(folder, TARGETS_FOLDER, name);
    // The name holds the content's digest: what is there with the right length is complete.
    if ((await stat(path).catch(() => undefined))?.size === bytes.length) continue;
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFileAtomic(path, bytes, 0o644);
  }
  await writeMetadata(join(folder, METADATA_FOLDER), metadata);
}

async function checkNotNewer(path: string, offered: Uint8Array | undefined): Promise<void> {
  const there = await readIfThere(path);
  if (there === undefined || offered === undefined) return;
  const [old, next] = [there, offered].map((bytes) => versionOf(bytes));
  if ((old ?? 0) > (next ?? 0)) {
    throw new UpdateError(
      'registry.update-refused',
      'the folder holds a newer repository than the state does',
    );
  }
}

function versionOf(timestamp: Uint8Array): number {
  try {
    return Metadata.fromJSON(MetadataKind.Timestamp, parse(timestamp)).signed.version;
  } catch (cause) {
    throw damaged('the timestamp is no TUF metadata', cause);
  }
}

async function readRoots(folder: string): Promise<MetadataFiles> {
  const names = new Set(await readdir(folder).catch(() => []));
  const roots: (readonly [string, Uint8Array])[] = [];
  for (let version = 1; names.has(`${version}.root.json`); version++) {
    const name = `${version}.root.json`;
    roots.push([name, await readFileOf(folder, name)]);
  }
  return roots;
}

function verifiedByAny(
  roots: readonly RepositoryState['root'][],
  role: string,
  metadata: Parameters<RepositoryState['root']['verifyDelegate']>[1],
): void {
  const [first, ...rest] = [...roots].reverse();
  try {
    first?.verifyDelegate(role, metadata);
  } catch (error) {
    if (rest.length === 0) throw error;
    verifiedByAny(rest, role, metadata);
  }
}

function parse(bytes: Uint8Array): Parameters<typeof Metadata.fromJSON>[1] {
  return JSON.parse(Buffer.from(bytes).toString('utf8'));
}

async function readFileOf(folder: string, name: string): Promise<Buffer> {
  const bytes = await readIfThere(join(folder, name));
  if (bytes === undefined) throw damaged(`${name} is missing`);
  return bytes;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function damaged(message: string, cause?: unknown): UpdateError {
  return new UpdateError('registry.update-repository-damaged', message, cause === undefined ? {} : { cause });
}
