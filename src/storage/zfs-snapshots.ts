import type { Digest } from '../base/index.ts';
import type { Promotion } from './blob-store.ts';
import { StorageError } from './errors.ts';
import { isZfsError, type ZfsCommands } from './zfs-commands.ts';
import { checkLabel } from './zfs-names.ts';

/** What a promotion left. */
export interface PromotionSnapshot {
  readonly version: string;
  /** Digest of the weights in clear, from the snapshot's user property. */
  readonly digest: Digest;
  /** The same on every replica. */
  readonly guid: string;
  /** RFC 3339 UTC, whole seconds. */
  readonly createdAt: string;
  readonly isHeld: boolean;
}

const PREFIX = 'promoted-';
const HOLD = 'aiguardian-promotion';
const DIGEST = 'org.aiguardian:digest';
const VERSION = 'org.aiguardian:version';

/** Snapshots of promotions: named for the version, labelled with its digest, held so that nothing destroys them by mistake. */
export class KeptSnapshots {
  readonly #zfs: ZfsCommands;

  constructor(zfs: ZfsCommands) {
    this.#zfs = zfs;
  }

  /**
   * One snapshot a version, whatever number of times it is promoted; a hold that a crash kept from being set is set
   * at the next call. Throws `storage.zfs-snapshot-differs`.
   */
  async keep(dataset: string, { version, digest }: Promotion): Promise<void> {
    checkDigest(digest);
    const snapshot = snapshotOf(dataset, version);
    const found = await this.#zfs.properties(snapshot, [DIGEST, 'userrefs']);
    if (found === undefined) {
      const properties = [`${DIGEST}=${digest}`, `${VERSION}=${version}`];
      await this.#zfs.run('zfs', ['snapshot', ...properties.flatMap((text) => ['-o', text]), snapshot]);
    } else if (found.get(DIGEST) !== digest) {
      throw new StorageError('storage.zfs-snapshot-differs', `${snapshot} names another digest`);
    }
    if (found === undefined || found.get('userrefs') === '0') await this.#hold(snapshot);
  }

  async list(dataset: string): Promise<readonly PromotionSnapshot[]> {
    const columns = `name,creation,guid,userrefs,${VERSION},${DIGEST}`;
    const args = ['list', '-Hp', '-t', 'snapshot', '-d', '1', '-s', 'createtxg', '-o', columns, dataset];
    return (await this.#zfs.rows('zfs', args, 6)).flatMap((row) => {
      const [name = '', creation = '', guid = '', userrefs = '', version = '', digest = ''] = row;
      if (!name.startsWith(`${dataset}@${PREFIX}`) || !isDigestText(digest)) return [];
      const createdAt = new Date(Number(creation) * 1000).toISOString();
      return [{ version, digest, guid, createdAt, isHeld: Number(userrefs) > 0 }];
    });
  }

  async release(dataset: string, version: string): Promise<void> {
    const snapshot = snapshotOf(dataset, version);
    const found = await this.#zfs.properties(snapshot, ['userrefs']);
    if (found !== undefined && found.get('userrefs') !== '0') {
      await this.#zfs.run('zfs', ['release', HOLD, snapshot]);
    }
    await this.#zfs.run('zfs', ['destroy', snapshot]);
  }

  async #hold(snapshot: string): Promise<void> {
    try {
      await this.#zfs.run('zfs', ['hold', HOLD, snapshot]);
    } catch (error) {
      if (!isZfsError(error, 'storage.zfs-dataset-exists')) throw error;
    }
  }
}

function snapshotOf(dataset: string, version: string): string {
  checkLabel(version);
  return `${dataset}@${PREFIX}${version}`;
}

function checkDigest(digest: string): void {
  if (!isDigestText(digest)) throw new StorageError('storage.name-invalid', 'expected a sha256 digest');
}

function isDigestText(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}
