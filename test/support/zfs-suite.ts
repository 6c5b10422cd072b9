import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { SecretBuffer } from '../../src/crypto/index.ts';
import {
  openZfsBlobStore,
  replicateRegistry,
  type ZfsBlobStore,
  type ZfsRunner,
} from '../../src/storage/index.ts';
import type { OpenedStore } from './blob-store-contract.ts';

/** Pools, and a runner that reaches them or stands in for it. */
export interface ZfsBench {
  readonly runner: ZfsRunner;
  /** Of this test alone: `agtest/…`; its namesake below `agbackup` takes replicas. */
  readonly dataset: string;
  readonly isMounted?: (path: string) => Promise<boolean>;
  /** Reads a file of a mounted replica; absent where none is really mounted. */
  readonly readReplica?: (dataset: string, file: string) => Uint8Array;
  /** Overwrites one side of the mirror below `agtest`, where there is one. */
  corruptMirror(): Promise<void>;
  /** Ends the test; a replay checks that it was asked everything. */
  close(): Promise<void>;
}

export type OpenBench = (test: string) => Promise<ZfsBench>;

export const POOL = 'agtest';
export const BACKUP = 'agbackup';

/** The raw key of every test's dataset. */
export function testKey(byte = 7): SecretBuffer {
  return SecretBuffer.from(new Uint8Array(32).fill(byte));
}

export async function openTestStore(bench: ZfsBench, key = testKey()): Promise<ZfsBlobStore> {
  const { runner, dataset, isMounted } = bench;
  return await openZfsBlobStore({ dataset, key, runner, ...(isMounted && { isMounted }) });
}

/** For the contract that every blob store keeps. */
export async function openForContract(bench: ZfsBench): Promise<OpenedStore> {
  const store = await openTestStore(bench);
  return { store, root: store.mountpoint, reopen: () => openTestStore(bench), close: () => bench.close() };
}

const WEIGHTS = 'models/flow/1.0.0/model.agm.sealed';
const DIGEST = `sha256:${'1b'.repeat(32)}` as const;
const OTHER = `sha256:${'2c'.repeat(32)}` as const;

/** What ZFS adds to a blob store. Every call that it makes goes through the runner, so that it can be replayed. */
export function zfsSuite(title: string, open: OpenBench): void {
  const benched = (name: string, run: (bench: ZfsBench, zfs: Zfs) => Promise<void>) =>
    test(name, async () => {
      const bench = await open(name);
      await run(bench, (...args) => bench.runner.run('zfs', args));
      await bench.close();
    });

  describe(title, () => {
    benched('encrypts one dataset for the registry and gives each model a child', async (bench, zfs) => {
      const store = await openTestStore(bench);
      assert.equal(store.kind, 'zfs');
      await store.put(WEIGHTS, Buffer.from('sealed'));
      await store.put('evidence/a.json', Buffer.from('{}'));
      const child = `${bench.dataset}/models/flow`;
      const names = 'encryption,encryptionroot,keyformat,keylocation,overlay,exec,org.aiguardian:model';
      const { stdout } = await zfs('get', '-Hp', '-o', 'value', names, child);
      const expected = ['aes-256-gcm', bench.dataset, 'raw', 'none', 'off', 'off', 'flow'];
      assert.deepEqual(stdout.trim().split('\n'), expected);
    });

    benched('refuses a wrong key, and opens with the right one', async (bench, zfs) => {
      const store = await openTestStore(bench);
      await store.put(WEIGHTS, Buffer.from('sealed'));
      const wrong = { code: 'storage.zfs-key-wrong', category: 'security' };
      await assert.rejects(openTestStore(bench, testKey(8)), wrong);
      await store.lock();
      await assert.rejects(openTestStore(bench, testKey(8)), wrong);
      assert.equal((await zfs('mount', bench.dataset)).rc, 1);
      const again = await openTestStore(bench);
      assert.deepEqual(Buffer.from(await again.get(WEIGHTS)).toString(), 'sealed');
    });

    benched('neither reads nor writes while its dataset is not mounted', async (bench) => {
      const store = await openTestStore(bench);
      await store.put(WEIGHTS, Buffer.from('sealed'));
      await store.lock();
      const expected = { code: 'storage.zfs-not-mounted', category: 'security' };
      await assert.rejects(store.put('a', Buffer.from('x')), expected);
      await assert.rejects(store.put(WEIGHTS, Buffer.from('sealed')), expected);
      await assert.rejects(store.get(WEIGHTS), expected);
      await assert.rejects(store.list(''), expected);
      const health = await store.health();
      assert.deepEqual([health.isOpen, health.verdict], [false, 'failing']);
    });

    benched('refuses a dataset that is not encrypted under a key of its own', async (bench, zfs) => {
      assert.equal((await zfs('create', bench.dataset)).rc, 0);
      await assert.rejects(openTestStore(bench), { code: 'storage.zfs-unfit', category: 'security' });
    });

    benched('names the pool that does not exist', async ({ runner }) => {
      const opening = openZfsBlobStore({ dataset: 'agnone/registry', key: testKey(), runner });
      await assert.rejects(opening, { code: 'storage.zfs-dataset-missing' });
    });

    benched('snapshots and holds a promoted version once, labelled with its digest', async (bench) => {
      const store = await openTestStore(bench);
      await store.put(WEIGHTS, Buffer.from('sealed'));
      const promotion = { name: 'flow', version: '1.0.0', digest: DIGEST };
      await store.onPromotion(promotion);
      await store.onPromotion(promotion);
      await store.onPromotion({ name: 'flow', version: '1.1.0', digest: OTHER });
      const found = await store.promotions('flow');
      assert.deepEqual(
        found.map(({ version, digest, isHeld }) => [version, digest, isHeld]),
        [
          ['1.0.0', DIGEST, true],
          ['1.1.0', OTHER, true],
        ],
      );
      await assert.rejects(store.onPromotion({ ...promotion, digest: OTHER }), {
        code: 'storage.zfs-snapshot-differs',
      });
    });

    benched('finishes a promotion that was cut short between snapshot and hold', async (bench, zfs) => {
      const store = await openTestStore(bench);
      await store.put(WEIGHTS, Buffer.from('sealed'));
      const snapshot = `${bench.dataset}/models/flow@promoted-1.0.0`;
      await zfs(
        'snapshot',
        '-o',
        `org.aiguardian:digest=${DIGEST}`,
        '-o',
        'org.aiguardian:version=1.0.0',
        snapshot,
      );
      assert.equal((await store.promotions('flow'))[0]?.isHeld, false);
      await store.onPromotion({ name: 'flow', version: '1.0.0', digest: DIGEST });
      assert.equal((await store.promotions('flow'))[0]?.isHeld, true);
    });

    benched('does not destroy a held snapshot, nor its dataset, until it is let go', async (bench, zfs) => {
      const store = await openTestStore(bench);
      await store.put(WEIGHTS, Buffer.from('sealed'));
      await store.onPromotion({ name: 'flow', version: '1.0.0', digest: DIGEST });
      const child = `${bench.dataset}/models/flow`;
      const refused = await zfs('destroy', `${child}@promoted-1.0.0`);
      assert.equal(refused.rc, 1);
      assert.match(refused.stderr, /dataset is busy/);
      assert.equal((await zfs('destroy', '-r', child)).rc, 1);
      assert.equal((await store.promotions('flow')).length, 1);
      await store.releasePromotion('flow', '1.0.0');
      assert.deepEqual(await store.promotions('flow'), []);
      await assert.rejects(store.releasePromotion('flow', '1.0.0'), { code: 'storage.zfs-dataset-missing' });
    });

    benched('replicates raw and then by increments from bookmarks, without the key', async (bench, zfs) => {
      const store = await openTestStore(bench);
      const weights = Buffer.alloc(1 << 20, 'w');
      await store.put(WEIGHTS, weights);
      const target = bench.dataset.replace(POOL, BACKUP);
      const replicate = () => replicateRegistry({ source: bench.dataset, target, runner: bench.runner });
      const first = await replicate();
      assert.ok(first.every(({ base }) => base === undefined));
      await store.put('models/flow/1.1.0/model.agm.sealed', Buffer.alloc(4096, 'x'));
      await store.put('models/dga/1.0.0/model.agm.sealed', Buffer.alloc(4096, 'y'));
      await store.lock();
      const second = await replicate();
      const flow = second.find(({ dataset }) => dataset.endsWith('/flow'));
      assert.equal(flow?.base, `${bench.dataset}/models/flow#replica-1`);
      const full = first.find(({ dataset }) => dataset.endsWith('/flow'))?.bytes ?? 0;
      assert.ok(full > 1 << 20 && flow.bytes < full / 4, `${full} bytes, then ${flow.bytes}`);
      assert.equal(second.find(({ dataset }) => dataset.endsWith('/dga'))?.base, undefined);
      const { stdout: kept } = await zfs(
        'list',
        '-Hp',
        '-r',
        '-t',
        'snapshot,bookmark',
        '-o',
        'name',
        bench.dataset,
      );
      assert.ok(kept.includes('#replica-2') && !kept.includes('@replica-') && !kept.includes('#replica-1'));
      const { stdout } = await zfs(
        'get',
        '-Hp',
        '-r',
        '-t',
        'filesystem',
        '-o',
        'value',
        'keystatus,mounted',
        target,
      );
      assert.deepEqual([...new Set(stdout.trim().split('\n'))].sort(), ['no', 'unavailable']);
      const replica = `${target}/models/flow`;
      assert.equal(
        (await bench.runner.run('zfs', ['load-key', '-L', 'prompt', replica], testKey(8))).rc,
        255,
      );
      assert.equal((await bench.runner.run('zfs', ['load-key', '-L', 'prompt', replica], testKey())).rc, 0);
      assert.equal((await zfs('mount', replica)).rc, 0);
      if (bench.readReplica !== undefined) {
        const copied = bench.readReplica(replica, '1.0.0/model.agm.sealed');
        assert.equal(Buffer.compare(copied, weights), 0, 'the replica opens with the same key');
      }
      await bench.runner.run('zfs', ['unmount', replica]);
    });

    benched(
      'goes on after a replication that was cut short when its data had arrived',
      async (bench, zfs) => {
        const store = await openTestStore(bench);
        await store.put('a', Buffer.from('x'));
        const target = bench.dataset.replace(POOL, BACKUP);
        const replicate = () => replicateRegistry({ source: bench.dataset, target, runner: bench.runner });
        await replicate();
        const snapshot = `${bench.dataset}@replica-2`;
        assert.equal((await zfs('snapshot', snapshot)).rc, 0);
        const pipe = new PassThrough();
        await Promise.all([
          bench.runner.read(['send', '-w', '-i', '#replica-1', snapshot], pipe),
          bench.runner.write(['receive', '-u', target], pipe),
        ]);
        const [root] = await replicate();
        assert.equal(root?.snapshot, `${bench.dataset}@replica-3`);
        assert.equal(root?.base, snapshot);
      },
    );

    benched('says that a replica has nothing in common with its source', async (bench, zfs) => {
      await openTestStore(bench);
      const target = bench.dataset.replace(POOL, BACKUP);
      assert.equal((await zfs('create', target)).rc, 0);
      await assert.rejects(replicateRegistry({ source: bench.dataset, target, runner: bench.runner }), {
        code: 'storage.zfs-replica-diverged',
      });
    });

    benched('tells of a corrupted mirror that a scrub repaired', async (bench) => {
      const store = await openTestStore(bench);
      const scrub = () => bench.runner.run('zpool', ['scrub', '-w', POOL]);
      await bench.runner.run('zpool', ['clear', POOL]);
      await scrub();
      const before = await store.health();
      assert.deepEqual([before.verdict, before.scan?.state, before.checksumErrors], ['good', 'finished', 0]);
      for (let i = 0; i < 8; i++)
        await store.put(`models/flow/1.${i}.0/weights`, Buffer.alloc(1 << 20, `w${i}`));
      await bench.runner.run('zpool', ['sync', POOL]);
      await bench.corruptMirror();
      await scrub();
      const after = await store.health();
      assert.equal(after.verdict, 'repaired');
      assert.ok(after.checksumErrors > 0, `${after.checksumErrors} checksum errors`);
      assert.deepEqual([after.scan?.errors, after.hasDataErrors], [0, false]);
      for (let i = 0; i < 8; i++) {
        assert.deepEqual(
          Buffer.from(await store.get(`models/flow/1.${i}.0/weights`)),
          Buffer.alloc(1 << 20, `w${i}`),
        );
      }
      await bench.runner.run('zpool', ['clear', POOL]);
      await scrub();
      assert.equal((await store.health()).verdict, 'good');
    });
  });
}

type Zfs = (...args: string[]) => ReturnType<ZfsRunner['run']>;

/** The dataset of a test: its title's words, so that a recording is found again. */
export function datasetOf(suite: string, test: string): string {
  const words = test.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return `${POOL}/${suite}-${words.slice(0, 48).replace(/-$/, '')}`;
}
