import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { trustRoot, type UpdateErrorCode, withUpdateClient } from '../../src/registry/index.ts';
import { envelope, inDays, makeKey, type TufRole, TufSimulator } from '../support/tuf-simulator.ts';

/** Cases from the TUF specification's client workflow (5.3 to 5.7), numbered as there. */

let folder: string;
let metadata: string;
let repository: TufSimulator;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tuf-'));
  metadata = join(folder, 'metadata');
  repository = new TufSimulator();
  await repository.listen();
  await trustRoot(metadata, repository.files.get('metadata/1.root.json') as Buffer);
});

afterEach(async () => {
  await repository.close();
  rmSync(folder, { recursive: true, force: true });
});

function options() {
  return {
    metadataFolder: metadata,
    metadataUrl: repository.metadataUrl,
    targetsUrl: repository.targetsUrl,
    metadataTimeoutMs: 2_000,
    targetTimeoutMs: 2_000,
  };
}

const refresh = () => withUpdateClient(options(), (client) => client.refresh());

async function refused(message: RegExp, code: UpdateErrorCode = 'registry.update-refused'): Promise<void> {
  await assert.rejects(refresh(), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

async function download(name: string): Promise<Buffer> {
  const path = join(folder, encodeURIComponent(name));
  await withUpdateClient(options(), async (client) => {
    await client.refresh();
    const target = await client.find(name);
    assert.ok(target, 'the target is known');
    await client.download(target, path);
  });
  return readFileSync(path);
}

/** Version of trusted metadata; undefined where there are none. */
function trusted(role: TufRole): number | undefined {
  const path = join(metadata, `${role}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).signed.version : undefined;
}

suite('5.3, the root,', () => {
  test('is followed through every version in between, each asked for once', async () => {
    for (let i = 0; i < 4; i++) repository.publishRoot(repository.rotate('root'));
    await refresh();
    assert.equal(trusted('root'), 5);
    assert.deepEqual(
      repository.requests.filter((path) => path.endsWith('root.json')),
      [2, 3, 4, 5, 6].map((version) => `metadata/${version}.root.json`),
    );
  });

  test('is not passed over a missing version (5.3.2)', async () => {
    for (let i = 0; i < 2; i++) repository.publishRoot(repository.rotate('root'));
    repository.rotate('timestamp');
    repository.publishRoot();
    repository.publish();
    repository.files.delete('metadata/2.root.json');
    await refused(/timestamp was signed by 0\/1 keys/);
    assert.equal(trusted('root'), 1);
  });

  test('longer than the limit is left (5.3.3, endless data)', async () => {
    repository.files.set('metadata/2.root.json', Buffer.alloc(600_000, 0x20));
    await refused(/expected at most 512000 bytes/);
    assert.equal(trusted('root'), 1);
  });

  test('that never ends is left (5.3.3, endless data)', async () => {
    let isLeft = false;
    repository.files.set('metadata/2.root.json', (response) => {
      response.once('close', () => {
        isLeft = true;
      });
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20)));
      };
      response.on('drain', more);
      more();
    });
    await refused(/expected at most 512000 bytes/);
    await repository.close();
    assert.ok(isLeft);
  });

  test('that drips is left in time (slow retrieval)', async () => {
    repository.files.set('metadata/2.root.json', (response) => {
      response.write('{');
    });
    await assert.rejects(
      withUpdateClient({ ...options(), metadataTimeoutMs: 50 }, (client) => client.refresh()),
      { code: 'registry.update-unreachable' },
    );
  });

  test('not signed by the root before is refused (5.3.4, arbitrary software)', async () => {
    repository.rotate('root');
    repository.publishRoot();
    await refused(/root was signed by 0\/1 keys/);
    assert.equal(trusted('root'), 1);
  });

  test('not signed by itself is refused (5.3.4)', async () => {
    const before = repository.rotate('root');
    repository.versions.root = 1;
    repository.publishRoot(before);
    const { signed, signatures } = JSON.parse(String(repository.files.get('metadata/2.root.json')));
    const old = signatures.filter(({ keyid }: { keyid: string }) => keyid === before[0]?.id);
    repository.files.set('metadata/2.root.json', Buffer.from(JSON.stringify({ signed, signatures: old })));
    await refused(/root was signed by 0\/1 keys/);
  });

  test('below the threshold of the root before is refused (5.3.4, threshold)', async () => {
    const [one, two] = [makeKey(), makeKey()];
    const first = repository.keys.root;
    repository.keys.root = [one, two];
    repository.thresholds.root = 2;
    repository.publishRoot(first);
    await refresh();
    assert.equal(trusted('root'), 2);
    repository.keys.root = [one, makeKey()];
    repository.publishRoot();
    await refused(/root was signed by 1\/2 keys/);
    assert.equal(trusted('root'), 2);
  });

  test('below its own threshold is refused (5.3.4, threshold)', async () => {
    repository.thresholds.root = 2;
    repository.keys.root = [...repository.keys.root, makeKey()];
    repository.versions.root = 1;
    repository.publishRoot();
    const content = JSON.parse(String(repository.files.get('metadata/2.root.json')));
    content.signatures.pop();
    repository.files.set('metadata/2.root.json', Buffer.from(JSON.stringify(content)));
    await refused(/root was signed by 1\/2 keys/);
  });

  test('signed twice by one key does not reach a threshold of two', async () => {
    const [key] = repository.keys.root;
    assert.ok(key);
    repository.thresholds.root = 2;
    repository.keys.root = [key, makeKey()];
    repository.publishRoot();
    const content = JSON.parse(String(repository.files.get('metadata/2.root.json')));
    content.signatures = [content.signatures[0], content.signatures[0]];
    repository.files.set('metadata/2.root.json', Buffer.from(JSON.stringify(content)));
    await refused(/multiple signatures|1\/2 keys/);
  });

  test('with fields that nobody knows is taken, since they are signed too', async () => {
    const { signed } = JSON.parse(String(repository.publishRoot()));
    const [first = ''] = Object.keys(signed.keys);
    signed['custom-field'] = 'value';
    signed.keys[first]['extra-field'] = { a: 1, b: [2] };
    signed.roles.root['another-field'] = null;
    repository.files.set('metadata/2.root.json', envelope(signed, repository.keys.root));
    await refresh();
    assert.equal(trusted('root'), 2);
  });

  test('with the version before or one too high is refused (5.3.5, rollback)', async () => {
    for (const version of [1, 3]) {
      repository.versions.root = version - 1;
      repository.files.set('metadata/2.root.json', repository.publishRoot());
      repository.files.delete('metadata/3.root.json');
      await refused(/Expected version 2/);
    }
  });

  test('that is expired is passed on the way, not at the end (5.3.10, freeze)', async () => {
    repository.expires.root = inDays(-1);
    repository.publishRoot();
    repository.expires.root = inDays(1);
    repository.publishRoot();
    await refresh();
    repository.expires.root = inDays(-1);
    repository.publishRoot();
    await refused(/root.json is expired/, 'registry.update-expired');
    assert.equal(trusted('root'), 4);
  });

  test('that is no JSON, another role or unsigned is refused', async () => {
    for (const content of [
      '{',
      '[]',
      '{"signed":{}}',
      String(repository.files.get('metadata/timestamp.json')),
    ]) {
      repository.files.set('metadata/2.root.json', Buffer.from(content));
      await assert.rejects(refresh(), { code: 'registry.update-refused' });
    }
  });

  test('with new timestamp and snapshot keys recovers from a fast-forward (5.3.11)', async () => {
    repository.versions.timestamp = 99_999;
    repository.versions.snapshot = 99_999;
    repository.publish();
    await refresh();
    assert.equal(trusted('snapshot'), 99_999);
    repository.rotate('timestamp');
    repository.rotate('snapshot');
    repository.publishRoot();
    repository.versions.timestamp = 2;
    repository.versions.snapshot = 2;
    repository.publish();
    await refresh();
    assert.deepEqual([trusted('timestamp'), trusted('snapshot')], [2, 2]);
  });

  test('with new snapshot keys recovers from fast-forwarded targets (5.3.11)', async () => {
    repository.versions.targets = 99_999;
    repository.publish();
    await refresh();
    repository.rotate('snapshot');
    repository.publishRoot();
    repository.versions.targets = 1;
    repository.versions.snapshot++;
    repository.versions.timestamp++;
    repository.publish();
    await refresh();
    assert.equal(trusted('targets'), 1);
  });

  test('is needed beforehand, and must be signed by its own keys', async () => {
    await assert.rejects(
      withUpdateClient({ ...options(), metadataFolder: join(folder, 'none') }, (client) => client.refresh()),
      { code: 'registry.update-root-needed' },
    );
    const root = JSON.parse(String(repository.files.get('metadata/1.root.json')));
    root.signed.version = 7;
    for (const content of [JSON.stringify(root), 'x', '{}']) {
      await assert.rejects(trustRoot(join(folder, 'new'), Buffer.from(content)), {
        code: 'registry.update-refused',
      });
    }
    assert.ok(!existsSync(join(folder, 'new')));
  });
});

suite('5.4, the timestamp,', () => {
  test('longer than the limit is left (5.4.1)', async () => {
    repository.files.set('metadata/timestamp.json', Buffer.alloc(20_000, 0x20));
    await refused(/expected at most 16384 bytes/);
  });

  test('with a wrong signature or by another key is refused (5.4.2)', async () => {
    repository.publish({ timestamp: [makeKey()] });
    await refused(/timestamp was signed by 0\/1/);
    repository.publish();
    const content = JSON.parse(String(repository.files.get('metadata/timestamp.json')));
    content.signed.version++;
    repository.files.set('metadata/timestamp.json', Buffer.from(JSON.stringify(content)));
    await refused(/timestamp was signed by 0\/1/);
    assert.equal(trusted('timestamp'), undefined);
  });

  test('below its threshold is refused (5.4.2)', async () => {
    repository.keys.timestamp = [...repository.keys.timestamp, makeKey()];
    repository.thresholds.timestamp = 2;
    repository.publishRoot();
    repository.publish({ timestamp: repository.keys.timestamp.slice(0, 1) });
    await refused(/timestamp was signed by 1\/2/);
    repository.publish();
    await refresh();
  });

  test('older than the trusted one is refused (5.4.3.1, rollback)', async () => {
    repository.publishNext();
    await refresh();
    repository.versions.timestamp = 1;
    repository.publish();
    await refused(/version 1 is less than current version 2/);
    assert.equal(trusted('timestamp'), 2);
  });

  test('of the same version is not taken again', async () => {
    await refresh();
    const before = readFileSync(join(metadata, 'timestamp.json'));
    repository.expires.timestamp = inDays(700);
    repository.publish();
    await refresh();
    assert.deepEqual(readFileSync(join(metadata, 'timestamp.json')), before);
  });

  test('that names an older snapshot is refused (5.4.3.2, rollback)', async () => {
    repository.publishNext();
    await refresh();
    repository.versions.snapshot = 1;
    repository.versions.timestamp++;
    repository.publish();
    await refused(/snapshot version 1 is less than current version 2/);
    assert.deepEqual([trusted('timestamp'), trusted('snapshot')], [2, 2]);
  });

  test('that is expired is refused, an expired trusted one still guards (5.4.4, freeze)', async () => {
    repository.publishNext();
    await refresh();
    repository.expires.timestamp = inDays(-1);
    repository.publishNext();
    await refused(/timestamp.json is expired/, 'registry.update-expired');
    assert.equal(trusted('timestamp'), 2);
    const aged = JSON.parse(readFileSync(join(metadata, 'timestamp.json'), 'utf8'));
    writeFileSync(
      join(metadata, 'timestamp.json'),
      envelope({ ...aged.signed, expires: inDays(-1) }, repository.keys.timestamp),
    );
    repository.expires.timestamp = inDays(1);
    repository.versions.timestamp = 1;
    repository.publish();
    await refused(/less than current/);
  });

  test('that the server does not have is not reached, and nothing is forgotten', async () => {
    await refresh();
    repository.files.delete('metadata/timestamp.json');
    await assert.rejects(refresh(), /404/);
    repository.files.set('metadata/timestamp.json', (response) => response.writeHead(500).end());
    await assert.rejects(refresh(), { code: 'registry.update-unreachable' });
    repository.files.set('metadata/timestamp.json', (response) =>
      response.writeHead(302, { location: `${repository.metadataUrl}/1.root.json` }).end(),
    );
    await assert.rejects(refresh(), { code: 'registry.update-unreachable' });
    assert.equal(trusted('timestamp'), 1);
  });
});

suite('5.5, the snapshot,', () => {
  test('with another digest or length than the timestamp says is refused (5.5.2, mix and match)', async () => {
    const honest = repository.files.get(repository.file('snapshot')) as Buffer;
    repository.files.set(repository.file('snapshot'), Buffer.concat([honest, Buffer.from(' ')]));
    await refused(/more|Expected length/);
    repository.expires.snapshot = inDays(366);
    repository.versions.timestamp++;
    repository.publish();
    repository.files.set(repository.file('snapshot'), honest);
    await refused(/Expected (hash|length)|expected at most/);
    assert.deepEqual([trusted('timestamp'), trusted('snapshot')], [2, undefined]);
  });

  test('signed by another key is refused (5.5.3)', async () => {
    repository.publish({ snapshot: repository.keys.timestamp });
    await refused(/snapshot was signed by 0\/1/);
  });

  test('of another version than the timestamp says is refused (5.5.4, mix and match)', async () => {
    repository.withHashes = false;
    repository.publish();
    repository.publishTimestamp({ version: 2 });
    repository.files.set(
      repository.file('snapshot', 2),
      repository.files.get(repository.file('snapshot')) as Buffer,
    );
    await refused(/version doesn't match timestamp/);
    assert.deepEqual([trusted('timestamp'), trusted('snapshot')], [1, undefined]);
  });

  for (const withHashes of [true, false]) {
    test(`with older targets than the trusted one is refused (5.5.5, rollback${withHashes ? ', with hashes' : ''})`, async () => {
      repository.withHashes = withHashes;
      repository.publishNext();
      await refresh();
      repository.versions.targets = 1;
      repository.versions.snapshot++;
      repository.versions.timestamp++;
      repository.publish();
      await refused(/version 1 of targets.json is less than current version 2/);
      assert.deepEqual([trusted('snapshot'), trusted('targets')], [2, 2]);
    });
  }

  test('without targets that the trusted one had is refused (5.5.5)', async () => {
    await refresh();
    repository.withHashes = false;
    repository.versions.snapshot++;
    repository.versions.timestamp++;
    const signed = {
      _type: 'snapshot',
      spec_version: '1.0.31',
      version: 2,
      expires: inDays(1),
      meta: { 'other.json': { version: 1 } },
    };
    repository.files.set('metadata/2.snapshot.json', envelope(signed, repository.keys.snapshot));
    repository.publishTimestamp({ version: 2 });
    await refused(/Missing file targets.json/);
  });

  test('that is expired is refused (5.5.6, freeze)', async () => {
    repository.expires.snapshot = inDays(-1);
    repository.publish();
    await refused(/snapshot.json is expired/, 'registry.update-expired');
    assert.equal(trusted('snapshot'), undefined);
  });

  test('with a length that would fill memory is left at our limit (endless data)', async () => {
    repository.publishTimestamp({ version: 1, length: 1e12 });
    repository.files.set(repository.file('snapshot'), Buffer.alloc(5_100_000, 0x20));
    await refused(/expected at most 5000000 bytes/);
  });
});

suite('5.6, the targets,', () => {
  test('with another digest than the snapshot says are refused (5.6.2, mix and match)', async () => {
    const old = repository.files.get(repository.file('targets')) as Buffer;
    repository.expires.targets = inDays(366);
    repository.publish();
    repository.files.set(repository.file('targets'), old);
    await refused(/Expected (hash|length)|expected at most/);
  });

  test('signed by another key are refused (5.6.3, arbitrary software)', async () => {
    repository.publish({ targets: [makeKey()] });
    await refused(/targets was signed by 0\/1/);
    assert.equal(trusted('targets'), undefined);
  });

  test('of another version than the snapshot says are refused (5.6.4, mix and match)', async () => {
    repository.withHashes = false;
    repository.versions.targets = 2;
    repository.publish();
    const newer = repository.files.get('metadata/2.targets.json') as Buffer;
    repository.versions.targets = 1;
    repository.publish();
    repository.files.set('metadata/1.targets.json', newer);
    await refused(/Version 2 of targets does not match snapshot version 1/);
  });

  test('that are expired are refused (5.6.5, freeze)', async () => {
    repository.expires.targets = inDays(-1);
    repository.publish();
    await refused(/targets.json is expired/, 'registry.update-expired');
  });

  test('are asked for by version, and once', async () => {
    await refresh();
    await refresh();
    assert.deepEqual(repository.requests, [
      'metadata/2.root.json',
      'metadata/timestamp.json',
      'metadata/1.snapshot.json',
      'metadata/1.targets.json',
      'metadata/2.root.json',
      'metadata/timestamp.json',
    ]);
  });

  test('are asked for without a version where snapshots are not consistent', async () => {
    repository.consistent = false;
    repository.publishRoot();
    repository.addTarget('a/b.txt', 'content');
    repository.publish();
    assert.equal(String(await download('a/b.txt')), 'content');
    assert.deepEqual(repository.requests.slice(-3), [
      'metadata/snapshot.json',
      'metadata/targets.json',
      'targets/a/b.txt',
    ]);
  });
});

suite('a delegated role', () => {
  for (const role of ['plain', '?', '#', '/absolute', '../parent', '../../../../tmp/parent']) {
    test(`named ${role} is asked for and kept under its escaped name`, async () => {
      const key = makeKey();
      const expires = inDays(1);
      const common = { spec_version: '1.0.31', version: 1, expires };
      const escaped = encodeURIComponent(role);
      repository.addTarget('a', 'delegated');
      const signed = { _type: 'targets', ...common, targets: repository.targets };
      repository.files.set(`metadata/1.${escaped}.json`, envelope(signed, [key]));
      repository.targets = {};
      repository.moreMeta = { [`${role}.json`]: { version: 1 } };
      const roles = [{ name: role, keyids: [key.id], threshold: 1, terminating: false, paths: ['*'] }];
      repository.extra = { delegations: { keys: { [key.id]: key.fields }, roles } };
      repository.publish();
      assert.equal(String(await download('a')), 'delegated');
      assert.ok(repository.requests.includes(`metadata/1.${escaped}.json`));
      assert.ok(existsSync(join(metadata, `${escaped}.json`)));
      assert.deepEqual(readdirSync(folder).sort(), ['a', 'metadata']);
    });
  }

  test('cannot take the name of a role at the top', async () => {
    const roles = [{ name: 'snapshot', keyids: [], threshold: 1, terminating: false, paths: ['*'] }];
    repository.extra = { delegations: { keys: {}, roles } };
    repository.publish();
    await refused(/conflicts with top-level role name/);
  });
});

suite('5.7, a target,', () => {
  test('is stored under its name once it fits, asked for by its digest, and not asked for again', async () => {
    repository.addTarget('sub/model file.bin', 'weights');
    repository.publish();
    assert.equal(String(await download('sub/model file.bin')), 'weights');
    assert.match(repository.requests.at(-1) ?? '', /^targets\/sub\/[0-9a-f]{64}\.model%20file\.bin$/);
    const { length } = repository.requests;
    await download('sub/model file.bin');
    assert.equal(repository.requests.slice(length).filter((path) => path.startsWith('targets/')).length, 0);
  });

  test('of another content or length is not stored; what was there stays', async () => {
    repository.addTarget('a', 'genuine');
    repository.publish();
    await download('a');
    for (const served of ['forgery', 'genuine and more', 'gen']) {
      repository.addTarget('b', 'genuine', served);
      repository.publishNext();
      await assert.rejects(download('b'), { code: 'registry.update-target-refused' });
      assert.ok(!existsSync(join(folder, 'b')));
    }
    repository.addTarget('a', 'newer!!', 'forged!');
    repository.publishNext();
    await assert.rejects(download('a'), { code: 'registry.update-target-refused' });
    assert.equal(readFileSync(join(folder, 'a'), 'utf8'), 'genuine');
  });

  test('that never ends is left at its signed length (endless data)', async () => {
    repository.addTarget('a', 'x'.repeat(1_000));
    repository.publish();
    const path = [...repository.files.keys()].find((name) => name.startsWith('targets/')) ?? '';
    repository.files.set(path, (response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(download('a'), /expected at most 1000 bytes/);
  });

  test('without a strong digest, or of an absurd length, is refused', async () => {
    for (const fields of [
      { length: 1, hashes: {} },
      { length: 1, hashes: { md5: '00' } },
      { length: 1e300, hashes: { sha256: '00' } },
      { length: 2 ** 40, hashes: { sha256: '00' } },
    ]) {
      repository.targets = { a: fields };
      repository.publishNext();
      await assert.rejects(download('a'), { code: 'registry.update-target-refused' });
    }
  });

  const HOSTILE: Readonly<Record<string, string>> = {
    'a parent': '../evil',
    'a parent within': 'a/../../evil',
    'an encoded parent': '%2e%2e/evil',
    'a doubly encoded parent': '%252e%252e/evil',
    'an encoded slash': '..%2fevil',
    'an absolute path': '/tmp/evil',
    'a backslash': '..\\evil',
    'a drive': 'C:evil',
    'a NUL': 'evil\0.json',
    'a line break': 'evil\nname',
    'full-width dots': '．．/evil',
    'a full-width slash': '..／evil',
    'a two-dot leader': '‥/evil',
    'an empty segment': 'a//evil',
    'a dot segment': './evil',
    nothing: '',
    'half a character': 'evil\ud800',
    'too many characters': 'a'.repeat(600),
  };
  for (const [title, name] of Object.entries(HOSTILE)) {
    test(`is refused with ${title} in its name, and nothing is written`, async () => {
      repository.targets = {};
      repository.addTarget('good', 'evil');
      repository.targets = { [name]: repository.targets.good ?? {} };
      repository.publish();
      const before = readdirSync(folder).sort();
      await assert.rejects(
        withUpdateClient(options(), async (client) => {
          await client.refresh();
          assert.ok(Object.hasOwn((await client.targets()).targets, name));
          const target = (await client.targets()).targets[name];
          assert.ok(target);
          await assert.rejects(client.download(target, join(folder, 'evil')), {
            code: 'registry.update-target-refused',
          });
          await client.find(name);
        }),
        { code: 'registry.update-target-refused' },
      );
      assert.deepEqual(readdirSync(folder).sort(), before);
      assert.ok(!existsSync('/tmp/evil') && !existsSync(join(folder, '..', 'evil')));
      assert.deepEqual(
        repository.requests.filter((path) => path.startsWith('targets/')),
        [],
      );
    });
  }
});

suite('what is trusted', () => {
  test('survives a client that was cut short: leftovers go, whole files stay', async () => {
    await refresh();
    mkdirSync(join(metadata, '.work-cut'));
    writeFileSync(join(metadata, '.work-cut', 'root.json'), '{');
    await refresh();
    assert.deepEqual(readdirSync(metadata).sort(), [
      'first.root',
      'root.json',
      'snapshot.json',
      'targets.json',
      'timestamp.json',
    ]);
  });

  test('is fetched anew where a file other than the root is damaged, and refused where it is the root', async () => {
    await refresh();
    writeFileSync(join(metadata, 'snapshot.json'), '{"signed":');
    await refresh();
    assert.equal(trusted('snapshot'), 1);
    writeFileSync(join(metadata, 'root.json'), '{');
    await refused(/stored does not verify/);
  });
});

suite('the entry for the conformance suite', () => {
  const ENTRY = fileURLToPath(new URL('./tuf-client.ts', import.meta.url));
  const run = (...args: string[]): Promise<number> =>
    new Promise((resolve) => {
      execFile(process.execPath, [ENTRY, ...args], (error) =>
        resolve(error === null ? 0 : typeof error.code === 'number' ? error.code : -1),
      );
    });

  test('initialises, refreshes and downloads with exit code 0, and fails with 1', async () => {
    const [dir, targets, root] = ['dir', 'targets', 'root.json'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(targets);
    writeFileSync(root, repository.files.get('metadata/1.root.json') as Buffer);
    repository.addTarget('path/to/file.txt', 'content');
    repository.publish();
    const at = ['--metadata-dir', dir, '--metadata-url', repository.metadataUrl];
    const get = (name: string) => [
      ...at,
      ...[
        '--target-name',
        name,
        '--target-base-url',
        repository.targetsUrl,
        '--target-dir',
        targets,
        'download',
      ],
    ];
    assert.equal(await run('--metadata-dir', dir, 'init', root), 0);
    assert.deepEqual(repository.requests, []);
    assert.equal(await run(...at, 'refresh'), 0);
    assert.ok(
      ['root', 'timestamp', 'snapshot', 'targets'].every((role) => existsSync(join(dir, `${role}.json`))),
    );
    assert.equal(await run(...get('path/to/file.txt')), 0);
    assert.deepEqual(
      readdirSync(targets).map((name) => readFileSync(join(targets, name), 'utf8')),
      ['content'],
    );
    assert.equal(await run(...get('unknown')), 1);
    repository.versions.timestamp = 2;
    repository.publish({ timestamp: [makeKey()] });
    assert.equal(await run(...at, 'refresh'), 1);
    assert.equal(readdirSync(targets).length, 1);
  });
});
