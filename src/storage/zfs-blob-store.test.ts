import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { blobStoreContract } from '../../test/support/blob-store-contract.ts';
import {
  datasetOf,
  openForContract,
  testKey,
  type ZfsBench,
  zfsSuite,
} from '../../test/support/zfs-suite.ts';
import { ReplayRunner, replayFolder, type ZfsTranscripts } from '../../test/support/zfs-transcript.ts';
import { openConfiguredBlobs } from './configured-blobs.ts';
import { StorageError } from './errors.ts';
import { openZfsBlobStore } from './zfs-blob-store.ts';
import { zfsFailure } from './zfs-commands.ts';
import { parsePoolStatus } from './zfs-health.ts';
import { checkDataset, checkLabel, checkMountpoint, modelOfBlob } from './zfs-names.ts';
import { createZfsRunner, type ZfsRunner } from './zfs-runner.ts';

const FIXTURE = new URL('../../test/fixtures/zfs/transcripts.json', import.meta.url);
const transcripts = JSON.parse(readFileSync(FIXTURE, 'utf8')) as ZfsTranscripts;

blobStoreContract('blob store contract on recorded OpenZFS', async (name) =>
  openForContract(replay('c', name)),
);
zfsSuite('recorded OpenZFS', async (name) => replay('z', name));

describe('what OpenZFS said', () => {
  const exchanges = Object.values(transcripts.tests).flat();

  test('was asked without a key or a shell among the arguments', () => {
    assert.ok(exchanges.length > 100);
    const keys = [7, 8].map((byte) => Buffer.alloc(32, byte));
    for (const { args } of exchanges) {
      const text = args.join(' ');
      for (const key of keys) {
        assert.ok(!text.includes(key.toString('hex')) && !text.includes(key.toString('latin1')));
      }
      assert.doesNotMatch(text, /[;&|$`<>\\\n]/);
    }
  });

  test('is known where it is an error', () => {
    const failed = exchanges.filter(({ rc }) => rc !== 0);
    const codes = new Set(
      failed.map(({ tool, args, rc, stderr }) => zfsFailure(tool + args[0], rc, stderr).code),
    );
    assert.deepEqual([...codes].sort(), [
      'storage.zfs-busy',
      'storage.zfs-dataset-missing',
      'storage.zfs-key-unloaded',
      'storage.zfs-key-wrong',
    ]);
    const codeOf = (rc: number, verb: string) =>
      failed
        .filter(({ args, ...said }) => said.rc === rc && args[0] === verb)
        .map(({ stderr }) => zfsFailure(verb, rc, stderr).code);
    assert.deepEqual([...new Set(codeOf(255, 'load-key'))], ['storage.zfs-key-wrong']);
    assert.deepEqual([...new Set(codeOf(1, 'mount'))], ['storage.zfs-key-unloaded']);
  });
});

describe('names for ZFS', () => {
  const hostile = [
    '',
    'pool',
    '-o',
    '-r/x',
    'pool/',
    'pool//x',
    'pool/../x',
    'pool/x@y',
    'pool/x#y',
    'pool/a b',
    'pool/%recv',
  ];

  for (const name of [
    ...hostile,
    'pool/x\n',
    'pool/$(id)',
    'pool/a;b',
    '/pool/x',
    `pool/${'x'.repeat(200)}`,
  ]) {
    test(`refuse ${JSON.stringify(name.slice(0, 20))} before any program runs`, async () => {
      const expected = { code: 'storage.name-invalid' };
      assert.throws(() => checkDataset(name), expected);
      await assert.rejects(openZfsBlobStore({ dataset: name, key: testKey(), runner: unused }), expected);
    });
  }

  test('refuse labels and mountpoints that are not plain', () => {
    for (const label of ['', '-r', 'a@b', 'a/b', 'a b', 'a%b', 'A']) assert.throws(() => checkLabel(label));
    for (const path of ['', '/', 'var', '/a/../b', '/a//b', '/a b', '/a\n']) {
      assert.throws(() => checkMountpoint(path), { code: 'storage.name-invalid' }, path);
    }
    checkMountpoint('/var/lib/ai-guardian/blobs');
  });

  test('give a dataset to models alone', () => {
    assert.equal(modelOfBlob('models/flow/1.0.0/x'), 'flow');
    for (const name of ['models/flow', 'models/9x/y', 'models/a_b/c', 'evidence/flow/x', 'x']) {
      assert.equal(modelOfBlob(name), undefined);
    }
  });
});

describe('the runner', () => {
  test('names the program that is missing', async () => {
    const runner = createZfsRunner('/nonexistent');
    const expected = { code: 'storage.zfs-unavailable', category: 'resource' };
    await assert.rejects(runner.run('zpool', ['list']), expected);
    await assert.rejects(runner.read(['send', 'a/b@c'], new PassThrough().resume()), expected);
    await assert.rejects(runner.write(['receive', 'a/b'], Readable.from([Buffer.from('x')])), expected);
    await assert.rejects(openZfsBlobStore({ dataset: 'a/b', key: testKey(), runner }), expected);
  });
});

describe('pool status', () => {
  const status = (scan: string, rest = 'errors: No known data errors') =>
    `  pool: p\n state: ONLINE\n${scan}config:\n\n\tNAME        STATE     READ WRITE CKSUM\n\tp           ONLINE       0     0     0\n\n${rest}\n`;

  test('of another form is refused, and one without a scrub has none', () => {
    assert.throws(() => parsePoolStatus('no pools available\n'), { code: 'storage.zfs-output-unexpected' });
    assert.equal(parsePoolStatus(status('')).scan, undefined);
    assert.equal(parsePoolStatus(status('  scan: none requested\n')).scan, undefined);
  });

  test('of any text is taken apart or refused by its code', () => {
    const line = fc.constantFrom(
      ...[
        ' state: ONLINE',
        ' state: DEGRADED',
        'errors: No known data errors',
        'errors: 3 data errors',
        '\tp  ONLINE  0  1  2',
      ],
      ...[
        '  scan: scrub in progress since Mon',
        '  scan: scrub canceled on Mon',
        '  scan: scrub repaired x in',
        '\t  d  FAULTED  9 9 9  too many errors',
      ],
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(line, fc.string()), { maxLength: 12 }), (lines) => {
        try {
          const { readErrors, writeErrors, checksumErrors } = parsePoolStatus(lines.join('\n'));
          assert.ok([readErrors, writeErrors, checksumErrors].every(Number.isFinite));
        } catch (error) {
          assert.ok(
            error instanceof StorageError && error.code === 'storage.zfs-output-unexpected',
            String(error),
          );
        }
      }),
    );
  });
});

describe('configured blobs', () => {
  test('are a directory unless ZFS is named, and make no key for one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'blobs-'));
    try {
      const keyFile = join(folder, 'zfs.key');
      const store = await openConfiguredBlobs({ blobs: 'directory', folder: join(folder, 'blobs'), keyFile });
      assert.deepEqual(await store.health(), { kind: 'directory' });
      assert.throws(() => readFileSync(keyFile), { code: 'ENOENT' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('do not fall back to a directory where ZFS is missing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'blobs-'));
    try {
      const opening = openConfiguredBlobs({
        blobs: 'zfs:tank/registry',
        folder: join(folder, 'blobs'),
        keyFile: join(folder, 'zfs.key'),
        runner: createZfsRunner('/nonexistent'),
      });
      await assert.rejects(opening, { code: 'storage.zfs-unavailable' });
      assert.equal(readFileSync(join(folder, 'zfs.key')).length, 32);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

const unused: ZfsRunner = {
  run: () => assert.fail('ran a program'),
  read: () => assert.fail('ran a program'),
  write: () => assert.fail('ran a program'),
};

/** Answers as the real programs did in the test of the same name; files lie in a plain folder. */
function replay(suite: string, name: string): ZfsBench {
  const folder = mkdtempSync(join(tmpdir(), 'zfs-replay-'));
  const exchanges = transcripts.tests[`${suite} ${name}`];
  assert.ok(exchanges, `nothing is recorded for ${name}; npm run campaign -- zfs --record`);
  const runner = new ReplayRunner(exchanges, replayFolder(folder));
  return {
    runner,
    dataset: datasetOf(suite, name),
    isMounted: runner.isMounted,
    corruptMirror: async () => {},
    close: async () => {
      rmSync(folder, { recursive: true, force: true });
      assert.ok(runner.isAtEnd, 'every recorded call is asked for');
    },
  };
}
