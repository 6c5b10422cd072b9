import { chmod, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { SecretBuffer } from '../crypto/index.ts';
import { type BlobStore, checkBlobName, openDirectoryBlobStore, type Promotion } from './blob-store.ts';
import { StorageError } from './errors.ts';
import { ZfsCommands } from './zfs-commands.ts';
import { readPoolHealth, type ZfsHealth } from './zfs-health.ts';
import { checkDataset, checkMountpoint, isModelName, modelOfBlob, poolOf } from './zfs-names.ts';
import { createZfsRunner, type ZfsRunner } from './zfs-runner.ts';
import { KeptSnapshots, type PromotionSnapshot } from './zfs-snapshots.ts';

export interface ZfsBlobStoreOptions {
  /** `pool/registry`; made, encrypted, where it does not exist. Its parent must. */
  readonly dataset: string;
  /** 32 bytes, the raw key of the dataset. Stays the caller's, who wipes it after the store is open. */
  readonly key: SecretBuffer;
  /** Where a new dataset is mounted; the parent's mountpoint and the dataset's name by default. */
  readonly mountpoint?: string;
  readonly runner?: ZfsRunner;
  /** Whether a ZFS dataset is mounted at a path; asks the kernel by default. */
  readonly isMounted?: (path: string) => Promise<boolean>;
}

/** Blobs in an encrypted dataset, those of each model in a child of it, and what ZFS adds. */
export interface ZfsBlobStore extends BlobStore {
  readonly kind: 'zfs';
  readonly dataset: string;
  readonly mountpoint: string;
  /** Snapshots that promotions of a model left, oldest first. */
  promotions(model: string): Promise<readonly PromotionSnapshot[]>;
  /** Lets go of a promotion's snapshot and destroys it. Throws `storage.zfs-dataset-missing`. */
  releasePromotion(model: string, version: string): Promise<void>;
  /** State of the pool and its last scrub, and whether the dataset is open. */
  health(): Promise<{ readonly kind: 'zfs' } & ZfsHealth>;
  /** Unmounts the datasets and unloads their key. Throws `storage.zfs-busy` while files are open. */
  lock(): Promise<void>;
}

/**
 * Opens the dataset, or makes it: aes-256-gcm under `key`, which goes in by standard input. Throws `storage.zfs-key-wrong`,
 * `storage.zfs-unfit` for a dataset that is not encrypted so, `storage.zfs-not-mounted`, and other `storage.zfs-*`.
 */
export async function openZfsBlobStore(options: ZfsBlobStoreOptions): Promise<ZfsBlobStore> {
  const { dataset, mountpoint, runner = createZfsRunner(), isMounted = isZfsMountpoint } = options;
  checkDataset(dataset);
  if (mountpoint !== undefined) checkMountpoint(mountpoint);
  const zfs = new ZfsCommands(runner);
  const found = await zfs.properties(dataset, ['encryption', 'encryptionroot', 'keystatus']);
  if (found === undefined) await createRegistry(zfs, options);
  else await unlockRegistry(zfs, options, found);
  const models = await mountAll(zfs, dataset);
  const root = (await zfs.properties(dataset, ['mountpoint']))?.get('mountpoint') ?? '';
  checkMountpoint(root);
  if (!(await isMounted(root))) throw notMounted(dataset);
  await chmod(root, 0o700);
  const files = await openDirectoryBlobStore(root);
  return new DatasetBlobStore({ zfs, dataset, root, files, models, isMounted });
}

/** `f_type` of OpenZFS on Linux. */
const ZFS_SUPER_MAGIC = 0x2fc12fc1;
/** Children inherit these. `overlay=off` keeps a mount from hiding files of a plain folder. */
const DATASET_PROPERTIES = ['overlay=off', 'atime=off', 'devices=off', 'exec=off', 'setuid=off'];
const FORMAT = 'org.aiguardian:format=1';
const MODELS = 'models';

interface DatasetParts {
  readonly zfs: ZfsCommands;
  readonly dataset: string;
  readonly root: string;
  readonly files: BlobStore;
  /** Models that have a dataset. */
  readonly models: Set<string>;
  readonly isMounted: (path: string) => Promise<boolean>;
}

class DatasetBlobStore implements ZfsBlobStore {
  readonly kind = 'zfs';
  readonly dataset: string;
  readonly mountpoint: string;
  readonly #parts: DatasetParts;
  readonly #snapshots: KeptSnapshots;
  /** Datasets are made one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: DatasetParts) {
    this.dataset = parts.dataset;
    this.mountpoint = parts.root;
    this.#parts = parts;
    this.#snapshots = new KeptSnapshots(parts.zfs);
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    checkBlobName(name);
    const model = modelOfBlob(name);
    if (model !== undefined) await this.#ensureModel(model);
    await this.#checkMounted(model === undefined ? this.mountpoint : join(this.mountpoint, MODELS, model));
    await this.#parts.files.put(name, bytes);
  }

  async get(name: string): Promise<Uint8Array> {
    await this.#checkMounted();
    return await this.#parts.files.get(name);
  }

  async has(name: string): Promise<boolean> {
    await this.#checkMounted();
    return await this.#parts.files.has(name);
  }

  async delete(name: string): Promise<void> {
    await this.#checkMounted();
    await this.#parts.files.delete(name);
  }

  async list(prefix: string): Promise<readonly string[]> {
    await this.#checkMounted();
    return await this.#parts.files.list(prefix);
  }

  async onPromotion(promotion: Promotion): Promise<void> {
    await this.#snapshots.keep(this.#datasetOf(promotion.name), promotion);
  }

  async promotions(model: string): Promise<readonly PromotionSnapshot[]> {
    return await this.#snapshots.list(this.#datasetOf(model));
  }

  async releasePromotion(model: string, version: string): Promise<void> {
    await this.#snapshots.release(this.#datasetOf(model), version);
  }

  async health(): Promise<{ readonly kind: 'zfs' } & ZfsHealth> {
    const { zfs, dataset } = this.#parts;
    const pool = await readPoolHealth(zfs, poolOf(dataset));
    const found = await zfs.properties(dataset, ['keystatus', 'mounted']);
    const isOpen = found?.get('keystatus') === 'available' && found.get('mounted') === 'yes';
    return { kind: 'zfs', ...pool, dataset, isOpen, verdict: isOpen ? pool.verdict : 'failing' };
  }

  async lock(): Promise<void> {
    const { zfs, dataset, models } = this.#parts;
    for (const child of [...models].map((model) => `${dataset}/${MODELS}/${model}`)) {
      await zfs.run('zfs', ['unmount', child]);
    }
    await zfs.run('zfs', ['unmount', `${dataset}/${MODELS}`]);
    await zfs.run('zfs', ['unmount', dataset]);
    await zfs.run('zfs', ['unload-key', dataset]);
  }

  #datasetOf(model: string): string {
    if (!isModelName(model)) {
      throw new StorageError(
        'storage.name-invalid',
        `expected the name of a model, got ${JSON.stringify(model.slice(0, 80))}`,
      );
    }
    return `${this.dataset}/${MODELS}/${model}`;
  }

  #ensureModel(model: string): Promise<void> {
    const { zfs, models } = this.#parts;
    const work = async () => {
      if (models.has(model)) return;
      await zfs.run('zfs', ['create', '-o', `org.aiguardian:model=${model}`, this.#datasetOf(model)]);
      models.add(model);
    };
    const made = this.#last.then(work, work);
    this.#last = made.catch(() => undefined);
    return made;
  }

  /** Where the dataset is gone from its place, a plain folder stands there: it is neither read nor written. */
  async #checkMounted(path = this.mountpoint): Promise<void> {
    if (!(await this.#parts.isMounted(path))) throw notMounted(this.dataset);
  }
}

async function createRegistry(zfs: ZfsCommands, options: ZfsBlobStoreOptions): Promise<void> {
  const { dataset, key, mountpoint } = options;
  const encryption = ['encryption=aes-256-gcm', 'keyformat=raw', 'keylocation=prompt'];
  const place = mountpoint === undefined ? [] : [`mountpoint=${mountpoint}`];
  const properties = [...encryption, ...place, ...DATASET_PROPERTIES, FORMAT];
  await zfs.run('zfs', ['create', ...properties.flatMap((property) => ['-o', property]), dataset], key);
  await zfs.run('zfs', ['create', `${dataset}/${MODELS}`]);
}

/** A key that is loaded already is checked all the same: whoever opens the store has to have it. */
async function unlockRegistry(
  zfs: ZfsCommands,
  { dataset, key }: ZfsBlobStoreOptions,
  found: ReadonlyMap<string, string>,
): Promise<void> {
  if (found.get('encryption') !== 'aes-256-gcm' || found.get('encryptionroot') !== dataset) {
    throw new StorageError(
      'storage.zfs-unfit',
      `expected ${dataset} to be encrypted with aes-256-gcm under a key of its own, got ${found.get('encryption')}`,
    );
  }
  const isLoaded = found.get('keystatus') === 'available';
  await zfs.run('zfs', ['load-key', ...(isLoaded ? ['-n'] : []), '-L', 'prompt', dataset], key);
}

/** Mounts what is not, parents first, and returns the models that have a dataset. */
async function mountAll(zfs: ZfsCommands, dataset: string): Promise<Set<string>> {
  const args = ['list', '-Hp', '-r', '-t', 'filesystem', '-o', 'name,mounted', dataset];
  const found = new Map((await zfs.rows('zfs', args, 2)).map(([name = '', mounted = '']) => [name, mounted]));
  const parent = `${dataset}/${MODELS}`;
  for (const name of [...found.keys()].sort()) {
    if (found.get(name) !== 'yes') await zfs.run('zfs', ['mount', name]);
  }
  if (!found.has(parent)) await zfs.run('zfs', ['create', parent]);
  const children = [...found.keys()].filter((name) => name.startsWith(`${parent}/`));
  return new Set(children.map((name) => name.slice(parent.length + 1)).filter(isModelName));
}

/** A folder of a dataset above lies on ZFS too; a mountpoint is on another device than what it lies in. */
async function isZfsMountpoint(path: string): Promise<boolean> {
  try {
    const [{ type }, here, above] = await Promise.all([statfs(path), stat(path), stat(dirname(path))]);
    return type === ZFS_SUPER_MAGIC && here.dev !== above.dev;
  } catch {
    return false;
  }
}

function notMounted(dataset: string): StorageError {
  return new StorageError('storage.zfs-not-mounted', `${dataset} is not mounted in its place`);
}
