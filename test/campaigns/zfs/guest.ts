import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ManualClock } from '../../../src/base/index.ts';
import { createFileKeyStore, open, seal, unwrapFromStore, wrapForStore } from '../../../src/crypto/index.ts';
import { openWrapStore } from '../../../src/storage/wraps.ts';
import { createZfsRunner } from '../../../src/storage/zfs-runner.ts';
import { blobStoreContract } from '../../support/blob-store-contract.ts';
import {
  BACKUP,
  datasetOf,
  openForContract,
  openTestStore,
  POOL,
  type ZfsBench,
  zfsSuite,
} from '../../support/zfs-suite.ts';
import { RECORDED_MOUNTS, RecordingRunner, type ZfsExchange } from '../../support/zfs-transcript.ts';

/** Runs inside the guest, on real OpenZFS, as root. What the programs said goes to the folder of the results. */
const RESULTS = process.env.ZFS_RESULTS ?? '/results';
const DISKS = '/var/zfs';
const DISK_BYTES = 256 << 20;
/** Labels and the boot area lie before and behind. */
const SPARED_BYTES = 5 << 20;

const system = createZfsRunner();
const tests: Record<string, readonly (ZfsExchange | undefined)[]> = {};

makePools();
after(() => {
  const versions = {
    kernel: execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim(),
    openzfs: readFileSync('/sys/module/zfs/version', 'utf8').trim(),
    node: process.version,
  };
  const transcripts = { format: 'zfs transcripts, version 1', versions, tests };
  writeFileSync(join(RESULTS, 'transcripts.json'), `${JSON.stringify(transcripts, null, 1)}\n`);
});

blobStoreContract('blob store contract on OpenZFS', async (name) => openForContract(await bench('c', name)));
zfsSuite('OpenZFS', (name) => bench('z', name));

describe('erase', () => {
  test('is not undone by rolling a dataset back to a snapshot that holds the blob', async () => {
    const store = await openTestStore(await bench('e', 'envelope'));
    const outside = '/var/apart';
    mkdirSync(outside, { recursive: true });
    const secret = { kind: 'file', path: join(outside, 'unlock.key') } as const;
    const keys = await createFileKeyStore({
      path: join(outside, 'keys.json'),
      secret,
      clock: new ManualClock(),
    });
    const wraps = await openWrapStore(join(outside, 'wraps'));
    const name = 'models/flow/1.0.0/model.agm.sealed';
    const context = Buffer.from('flow@1.0.0');
    const { blob, dataKey } = seal(Buffer.from('weights'), context);
    const wrapped = await wrapForStore(keys, 'dk-1', dataKey);
    dataKey.wipe();
    await wraps.put(wrapped);
    await store.put(name, blob);
    await store.onPromotion({ name: 'flow', version: '1.0.0', digest: `sha256:${'1b'.repeat(32)}` });
    const read = async () =>
      open(await store.get(name), await unwrapFromStore(keys, await wraps.get('dk-1')), context);
    assert.equal(Buffer.from(await read()).toString(), 'weights');

    await wraps.delete('dk-1');
    await store.delete(name);
    await zfs('rollback', `${store.dataset}/models/flow@promoted-1.0.0`);
    assert.deepEqual(Buffer.from(await store.get(name)), Buffer.from(blob), 'the sealed blob is back');
    await assert.rejects(read(), { code: 'storage.wraps-missing', category: 'security' });
    const inside = await Promise.all((await store.list('')).map((file) => store.get(file)));
    for (const { wrapped: text } of wrapped.wraps) {
      const forms = [Buffer.from(text), Buffer.from(text, 'base64')];
      for (const bytes of inside)
        for (const form of forms) assert.equal(Buffer.from(bytes).includes(form), false);
    }
    await keys.close();
  });
});

/** A bench on the real programs that keeps what they say under the test's name. */
async function bench(suite: string, name: string): Promise<ZfsBench> {
  const runner = new RecordingRunner(system);
  return {
    runner,
    dataset: datasetOf(suite, name),
    readReplica: (dataset, file) => readFileSync(join(RECORDED_MOUNTS, dataset, file)),
    corruptMirror: async () => overwrite(join(DISKS, 'b.img')),
    close: async () => {
      if (suite !== 'e') tests[`${suite} ${name}`] = runner.exchanges;
    },
  };
}

async function zfs(...args: string[]): Promise<string> {
  const { rc, stdout, stderr } = await system.run('zfs', args);
  assert.equal(rc, 0, stderr);
  return stdout;
}

function makePools(): void {
  mkdirSync(DISKS, { recursive: true });
  for (const disk of ['a', 'b', 'c']) {
    closeSync(openSync(join(DISKS, `${disk}.img`), 'w'));
    truncateSync(join(DISKS, `${disk}.img`), DISK_BYTES);
  }
  const create = (pool: string, ...disks: string[]) =>
    execFileSync('zpool', [
      'create',
      '-o',
      'cachefile=none',
      '-m',
      `${RECORDED_MOUNTS}${pool}`,
      pool,
      ...disks,
    ]);
  create(POOL, 'mirror', join(DISKS, 'a.img'), join(DISKS, 'b.img'));
  create(BACKUP, join(DISKS, 'c.img'));
}

function overwrite(path: string): void {
  const noise = Buffer.alloc(1 << 20, 0xa5);
  const file = openSync(path, 'r+');
  for (let at = SPARED_BYTES; at < DISK_BYTES - SPARED_BYTES; at += noise.length)
    writeSync(file, noise, 0, noise.length, at);
  closeSync(file);
}
