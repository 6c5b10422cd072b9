import { createReadStream } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Metadata, MetadataKind, type TargetFile, type Targets } from '@tufjs/models';
import { Updater } from 'tuf-js';
import { ExpiredMetadataError } from 'tuf-js/dist/error.js';
import {
  type Bytes,
  GuardianError,
  type Milliseconds,
  syncFolder,
  writeFileAtomic,
} from '../../base/index.ts';
import { UpdateError } from './errors.ts';
import { consistentName } from './repository-folder.ts';
import { checkTargetName, urlBelow } from './target-name.ts';
import { UpdateFetcher } from './update-fetcher.ts';

export interface UpdateClientOptions {
  /** Holds the trusted metadata: `root.json` must be there, see `trustRoot`. */
  readonly metadataFolder: string;
  readonly metadataUrl: string;
  readonly targetsUrl: string;
  /** For each whole file of metadata, and for each whole target. */
  readonly metadataTimeoutMs?: Milliseconds;
  readonly targetTimeoutMs?: Milliseconds;
}

/** Rotations of the root that one refresh follows. */
const MAX_ROOT_ROTATIONS = 256;
/** No target is longer, whatever its metadata say. */
export const MAX_TARGET_BYTES: Bytes = 1 << 30;
const WORK_PREFIX = '.work-';
/** The root as it was handed over, beside the one it was succeeded by. */
const FIRST_ROOT = 'first.root';
const LIMITS = { rootMaxLength: 512_000, timestampMaxLength: 16_384, snapshotMaxLength: 2_000_000 };
/** In the order in which each may rest on those before it. */
const TOP_LEVEL = ['root.json', 'timestamp.json', 'snapshot.json', 'targets.json'];

/** Takes root metadata as trusted; they must be signed by their own keys. Throws `registry.update-refused`. */
export async function trustRoot(metadataFolder: string, root: Uint8Array): Promise<void> {
  try {
    const parsed = Metadata.fromJSON(MetadataKind.Root, JSON.parse(Buffer.from(root).toString('utf8')));
    parsed.verifyDelegate('root', parsed);
  } catch (cause) {
    throw new UpdateError(
      'registry.update-refused',
      'the root handed over is no root metadata signed by its own keys',
      {
        cause,
      },
    );
  }
  await mkdir(metadataFolder, { recursive: true, mode: 0o700 });
  await writeFileAtomic(join(metadataFolder, FIRST_ROOT), root);
  await writeFileAtomic(join(metadataFolder, 'root.json'), root);
}

/** The root that was handed to `trustRoot`; undefined where none was. */
export async function readTrustedRoot(metadataFolder: string): Promise<Uint8Array | undefined> {
  const isTrusted = (await readdir(metadataFolder).catch((): string[] => [])).includes('root.json');
  return isTrusted ? await readFile(join(metadataFolder, FIRST_ROOT)) : undefined;
}

/**
 * Runs `work` with a client over the trusted metadata of a folder. The client works on a copy. What it has verified by
 * the end, also where `work` throws, replaces the folder's files, each whole: a crash leaves older trusted metadata,
 * never half a file. One at a time for each folder. Throws `registry.update-root-needed`.
 */
export async function withUpdateClient<T>(
  options: UpdateClientOptions,
  work: (client: UpdateClient) => Promise<T>,
): Promise<T> {
  const { metadataFolder } = options;
  const names = await readdir(metadataFolder).catch((): string[] => []);
  if (!names.includes('root.json')) {
    throw new UpdateError('registry.update-root-needed', 'no root of this update repository is trusted yet');
  }
  for (const name of names) {
    if (name.startsWith(WORK_PREFIX)) await rm(join(metadataFolder, name), { recursive: true, force: true });
  }
  const copy = await mkdtemp(join(metadataFolder, WORK_PREFIX));
  try {
    for (const name of names.filter(isMetadataFile))
      await copyFile(join(metadataFolder, name), join(copy, name));
    try {
      return await work(new UpdateClient(options, copy));
    } finally {
      await persist(copy, metadataFolder);
    }
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** The TUF client workflow (specification, section 5) by tuf-js, with limits of our own. */
export class UpdateClient {
  readonly #options: UpdateClientOptions;
  readonly #folder: string;
  readonly #fetcher: UpdateFetcher;
  readonly #targetFetcher: UpdateFetcher;
  readonly #updater: Updater;

  /** Made by `withUpdateClient`. */
  constructor(options: UpdateClientOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#fetcher = new UpdateFetcher(folder, options.metadataTimeoutMs ?? 30_000);
    this.#targetFetcher = new UpdateFetcher(folder, options.targetTimeoutMs ?? 600_000);
    try {
      this.#updater = new Updater({
        metadataDir: folder,
        metadataBaseUrl: options.metadataUrl,
        fetcher: this.#fetcher,
        config: { ...LIMITS, maxRootRotations: MAX_ROOT_ROTATIONS },
      });
    } catch (cause) {
      throw new UpdateError('registry.update-refused', 'the trusted root that is stored does not verify', {
        cause,
      });
    }
  }

  /** Sections 5.3 to 5.6. Throws `registry.update-refused`, `update-expired`, `update-unreachable`. */
  async refresh(): Promise<void> {
    await this.#guarded(() => this.#updater.refresh());
  }

  /** The targets metadata that the last `refresh` found in force. */
  async targets(): Promise<Targets> {
    const text = await readFile(join(this.#folder, 'targets.json'), 'utf8');
    return Metadata.fromJSON(MetadataKind.Targets, JSON.parse(text)).signed;
  }

  /** Versions of the metadata in force. */
  async versions(): Promise<Readonly<Record<'root' | 'timestamp' | 'snapshot' | 'targets', number>>> {
    const [root = 0, timestamp = 0, snapshot = 0, targets = 0] = await Promise.all(
      TOP_LEVEL.map(async (name) =>
        Number(JSON.parse(await readFile(join(this.#folder, name), 'utf8')).signed.version),
      ),
    );
    return { root, timestamp, snapshot, targets };
  }

  /** What the metadata say of a target, delegated roles included. */
  async find(name: string): Promise<TargetFile | undefined> {
    checkTargetName(name);
    return await this.#guarded(() => this.#updater.getTargetInfo(name));
  }

  /**
   * Section 5.7: takes a target's length and digests for what it must have, and lets it appear at `path` only then. A
   * file that is there and fits is kept. Throws `registry.update-target-refused`, `registry.update-unreachable`.
   */
  async download(target: TargetFile, path: string): Promise<void> {
    const { length, hashes } = target;
    const strong = hashes.sha256 ?? hashes.sha512;
    if (strong === undefined || !Number.isSafeInteger(length) || length > MAX_TARGET_BYTES) {
      throw new UpdateError(
        'registry.update-target-refused',
        'expected a SHA-256 or SHA-512 digest and at most 1 GiB',
      );
    }
    if (await fits(target, path)) return;
    // Consistent names carry the first digest that is listed.
    const [first = strong] = Object.values(hashes);
    const root = JSON.parse(await readFile(join(this.#folder, 'root.json'), 'utf8'));
    const name = root.signed.consistent_snapshot === true ? consistentName(target.path, first) : target.path;
    checkTargetName(name);
    await this.#guarded(
      () =>
        this.#targetFetcher.downloadFile(urlBelow(this.#options.targetsUrl, name), length, async (file) => {
          await target.verify(createReadStream(file));
          await moveWhole(file, path);
        }),
      'registry.update-target-refused',
    );
  }

  async #guarded<T>(
    work: () => Promise<T>,
    code: 'registry.update-refused' | 'registry.update-target-refused' = 'registry.update-refused',
  ): Promise<T> {
    this.#fetcher.failed = undefined;
    this.#targetFetcher.failed = undefined;
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof GuardianError) throw cause;
      const failed = this.#fetcher.failed ?? this.#targetFetcher.failed;
      const message = cause instanceof Error ? cause.message : String(cause);
      if (failed !== undefined) throw new UpdateError('registry.update-unreachable', failed, { cause });
      // tuf-js keeps only the text of what went wrong below snapshot and targets.
      const isExpired = cause instanceof ExpiredMetadataError || /\bis expired$/.test(message);
      throw new UpdateError(isExpired ? 'registry.update-expired' : code, message.slice(0, 500), { cause });
    }
  }
}

async function persist(from: string, to: string): Promise<void> {
  const names = (await readdir(from)).filter(isMetadataFile);
  for (const name of names.sort((a, b) => rank(a) - rank(b))) {
    const bytes = await readFile(join(from, name));
    const before = await readFile(join(to, name)).catch(() => undefined);
    if (before === undefined || !before.equals(bytes)) await writeFileAtomic(join(to, name), bytes);
  }
}

function rank(name: string): number {
  const at = TOP_LEVEL.indexOf(name);
  return at === -1 ? TOP_LEVEL.length : at;
}

function isMetadataFile(name: string): boolean {
  return name.endsWith('.json');
}

async function fits(target: TargetFile, path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return false;
  try {
    await target.verify(handle.createReadStream({ autoClose: false }));
    return true;
  } catch {
    return false;
  } finally {
    await handle.close();
  }
}

async function moveWhole(file: string, path: string): Promise<void> {
  const folder = dirname(path);
  const near = join(folder, `.part-${process.pid}-${process.hrtime.bigint()}`);
  try {
    await copyFile(file, near);
    await rename(near, path);
  } catch (error) {
    await rm(near, { force: true });
    throw error;
  }
  await syncFolder(folder);
}
