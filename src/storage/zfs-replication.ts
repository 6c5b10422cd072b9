import { PassThrough } from 'node:stream';
import type { Bytes } from '../base/index.ts';
import { StorageError } from './errors.ts';
import { isZfsError, ZfsCommands } from './zfs-commands.ts';
import { checkDataset } from './zfs-names.ts';
import { createZfsRunner, type ZfsRunner } from './zfs-runner.ts';

export interface ReplicationOptions {
  /** The registry's dataset. */
  readonly source: string;
  /** A dataset whose parent exists; made by the first replication. */
  readonly target: string;
  readonly runner?: ZfsRunner;
}

/** One dataset's part of a replication. */
export interface ReplicatedDataset {
  readonly dataset: string;
  readonly target: string;
  readonly snapshot: string;
  /** What the target had already, where only the difference was sent. */
  readonly base?: string;
  readonly bytes: Bytes;
}

/**
 * Brings a replica up to date: a snapshot of all datasets at one moment, each sent as it lies on the disk, encrypted.
 * Neither side needs the key. What stays at the source is a bookmark, which holds no space; promotions' own snapshots
 * stay there. May be repeated after a crash at any place: what the target has decides. Keys' wraps are not in it.
 * Throws `storage.zfs-replica-diverged` and other `storage.zfs-*`.
 */
export async function replicateRegistry(options: ReplicationOptions): Promise<readonly ReplicatedDataset[]> {
  const { source, target, runner = createZfsRunner() } = options;
  checkDataset(source);
  checkDataset(target);
  const zfs = new ZfsCommands(runner);
  const before = await points(zfs, source, true);
  const number = before.reduce((high, { label }) => Math.max(high, numberOf(label)), 0) + 1;
  const label = `${PREFIX}${number}`;
  await zfs.run('zfs', ['snapshot', '-r', `${source}@${label}`]);
  const sent: ReplicatedDataset[] = [];
  for (const dataset of await filesystems(zfs, source)) {
    sent.push(await replicateDataset(zfs, { dataset, target: target + dataset.slice(source.length), label }));
  }
  return sent;
}

const PREFIX = 'replica-';

/** A snapshot or a bookmark. */
interface Point {
  /** `pool/registry@label` or `pool/registry#label`. */
  readonly name: string;
  readonly label: string;
  readonly guid: string;
}

async function replicateDataset(
  zfs: ZfsCommands,
  { dataset, target, label }: { dataset: string; target: string; label: string },
): Promise<ReplicatedDataset> {
  const snapshot = `${dataset}@${label}`;
  const here = await points(zfs, dataset, false);
  const there = await points(zfs, target, false).catch((error: unknown) => {
    if (isZfsError(error, 'storage.zfs-dataset-missing')) return undefined;
    throw error;
  });
  const newest = there?.at(-1)?.guid;
  const candidates = here.filter(({ guid, name }) => guid === newest && name !== snapshot);
  // A bookmark serves as well as its snapshot and is what stays.
  const base = candidates.find(({ name }) => name.includes('#')) ?? candidates[0];
  if (there !== undefined && base === undefined) {
    throw new StorageError('storage.zfs-replica-diverged', `${target} shares no snapshot with ${dataset}`);
  }
  const since = base === undefined ? [] : ['-i', base.name];
  const bytes = await transfer(zfs, ['send', '-w', ...since, snapshot], ['receive', '-u', target]);
  await keepBookmark(zfs, { dataset, label, here });
  return { dataset, target, snapshot, ...(base && { base: base.name }), bytes };
}

/** Both ends run at once; where both fail, the one that knows the reason is told. */
async function transfer(
  zfs: ZfsCommands,
  send: readonly string[],
  receive: readonly string[],
): Promise<Bytes> {
  const pipe = new PassThrough();
  const [sent, received] = await Promise.allSettled([zfs.read(send, pipe), zfs.write(receive, pipe)]);
  if (sent.status === 'rejected' && sent.reason instanceof StorageError) throw sent.reason;
  if (received.status === 'rejected') throw received.reason;
  if (sent.status === 'rejected') throw sent.reason;
  return sent.value;
}

/** The new bookmark first, then what it stands in for goes. */
async function keepBookmark(
  zfs: ZfsCommands,
  { dataset, label, here }: { dataset: string; label: string; here: readonly Point[] },
): Promise<void> {
  await zfs.run('zfs', ['bookmark', `${dataset}@${label}`, `${dataset}#${label}`]);
  for (const old of here) if (numberOf(old.label) > 0) await zfs.run('zfs', ['destroy', old.name]);
}

async function filesystems(zfs: ZfsCommands, dataset: string): Promise<readonly string[]> {
  const rows = await zfs.rows('zfs', ['list', '-Hp', '-r', '-t', 'filesystem', '-o', 'name', dataset], 1);
  const names = rows.map(([name = '']) => name).sort();
  for (const name of names) checkDataset(name);
  return names;
}

/** Snapshots and bookmarks, oldest first. */
async function points(zfs: ZfsCommands, dataset: string, deep: boolean): Promise<readonly Point[]> {
  const depth = deep ? ['-r'] : ['-d', '1'];
  const args = [
    'list',
    '-Hp',
    ...depth,
    '-t',
    'snapshot,bookmark',
    '-s',
    'createtxg',
    '-o',
    'name,guid',
    dataset,
  ];
  return (await zfs.rows('zfs', args, 2)).map(([name = '', guid = '']) => ({
    name,
    guid,
    label: name.split(/[@#]/)[1] ?? '',
  }));
}

/** 0 where the label is not of a replication. */
function numberOf(label: string): number {
  const digits = label.startsWith(PREFIX) ? label.slice(PREFIX.length) : '';
  return /^[1-9]\d{0,8}$/.test(digits) ? Number(digits) : 0;
}
