import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { consistentName, mirrorRepository } from './repository-folder.ts';
import { type ServedRepository, serveRepository } from './serve-repository.ts';
import { isPlainName, isTargetName, urlBelow } from './target-name.ts';

let folder: string;
let served: ServedRepository;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'serve-repository-'));
  const root = join(folder, 'root');
  mkdirSync(join(root, 'metadata', 'sub'), { recursive: true });
  mkdirSync(join(root, 'targets'));
  writeFileSync(join(folder, 'secret'), 'secret');
  writeFileSync(join(root, 'secret'), 'secret');
  writeFileSync(join(root, 'metadata', '.hidden'), 'secret');
  writeFileSync(join(root, 'metadata', 'timestamp.json'), '{}');
  writeFileSync(join(root, 'targets', 'a.bin'), 'weights');
  symlinkSync(join(folder, 'secret'), join(root, 'metadata', 'link.json'));
  symlinkSync(folder, join(root, 'targets', 'up'));
  served = await serveRepository(root, { port: 0 });
});

after(async () => {
  await served.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends a request line as it is: clients tidy paths before they send them. */
function send(line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(served.url).port), '127.0.0.1', () =>
      socket.write(`${line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`),
    );
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.once('end', () => resolve(text)).once('error', reject);
  });
}

suite('a served repository', () => {
  test('gives its files, and their length alone to HEAD', async () => {
    const response = await fetch(`${served.url}/metadata/timestamp.json`);
    assert.equal(response.headers.get('content-type'), 'application/json');
    assert.equal(await response.text(), '{}');
    assert.equal(await (await fetch(`${served.url}/targets/a.bin`)).text(), 'weights');
    const head = await fetch(`${served.url}/targets/a.bin`, { method: 'HEAD' });
    assert.deepEqual([head.headers.get('content-length'), await head.text()], ['7', '']);
  });

  for (const path of [
    '/',
    '/secret',
    '/metadata',
    '/metadata/',
    '/metadata/sub',
    '/metadata/.hidden',
    '/metadata/link.json',
    '/metadata/../secret',
    '/metadata/../../secret',
    '/metadata/..%2fsecret',
    '/metadata/%2e%2e/secret',
    '/metadata/%252e%252e/secret',
    '/metadata/..\\secret',
    '/metadata/%5c..%5csecret',
    '/metadata//timestamp.json',
    '/metadata/./timestamp.json',
    '/metadata/timestamp.json%00',
    '/metadata/timestamp.json?x',
    '/targets/up/secret',
    '//metadata/timestamp.json',
    'http://x/metadata/timestamp.json',
    `/metadata/${'a/'.repeat(400)}b`,
  ]) {
    test(`has nothing at ${path.slice(0, 60)}`, async () => {
      const answer = await send(`GET ${path}`);
      assert.match(answer, /^HTTP\/1.1 404 /);
      assert.ok(!answer.includes('secret'));
    });
  }

  test('takes no other method', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      assert.match(await send(`${method} /metadata/timestamp.json`), /^HTTP\/1.1 405 /);
    }
  });
});

suite('names of targets', () => {
  test('are plain for us, and stay below their folder for everyone', () => {
    for (const name of ['a', 'flow/1.0.0/model.agm', 'A_b-c.d']) {
      assert.ok(isPlainName(name) && isTargetName(name), name);
    }
    for (const name of ['späße/ä b', '.hidden', '-x', 'a?b#c']) {
      assert.ok(isTargetName(name) && !isPlainName(name), name);
    }
    for (const name of [
      '',
      '/',
      'a/',
      '/a',
      '..',
      'a/..',
      '.',
      'a\\b',
      'a%2fb',
      'a:b',
      'a\0',
      '．．',
      'a／b',
      '‥',
      '\u0085',
    ]) {
      assert.ok(!isTargetName(name) && !isPlainName(name), JSON.stringify(name));
    }
    assert.equal(urlBelow('http://h/p/', 'a b/c?d#e'), 'http://h/p/a%20b/c%3Fd%23e');
    assert.equal(consistentName('a/b', 'ff'), 'a/ff.b');
    assert.throws(() => consistentName('../b', 'ff'), { code: 'registry.update-target-refused' });
  });

  test('that are not plain are refused before a repository is laid out', async () => {
    const out = join(folder, 'out');
    mkdirSync(out);
    for (const name of ['../evil', '/evil', 'a/../../evil', '.evil', 'evil\0']) {
      await assert.rejects(mirrorRepository(out, { metadata: [], targets: [[name, Buffer.from('x')]] }), {
        code: 'registry.update-target-refused',
      });
      await assert.rejects(mirrorRepository(out, { metadata: [[name, Buffer.from('x')]], targets: [] }), {
        code: 'registry.update-target-refused',
      });
    }
    assert.deepEqual(readdirSync(out), []);
  });

  test('a folder that holds a newer repository is left alone', async () => {
    const out = join(folder, 'newer');
    const timestamp = (version: number) =>
      Buffer.from(
        JSON.stringify({
          signed: {
            _type: 'timestamp',
            spec_version: '1.0.31',
            version,
            expires: '2030-01-01T00:00:00Z',
            meta: { 'snapshot.json': { version: 1 } },
          },
          signatures: [],
        }),
      );
    const mirror = (bytes: Buffer) =>
      mirrorRepository(out, { metadata: [['timestamp.json', bytes]], targets: [] });
    await mirror(timestamp(3));
    await mirror(timestamp(3));
    await assert.rejects(mirror(timestamp(2)), { code: 'registry.update-refused' });
    await mirror(timestamp(4));
    writeFileSync(join(out, 'metadata', 'timestamp.json'), 'x');
    await assert.rejects(mirror(timestamp(5)), { code: 'registry.update-repository-damaged' });
  });
});
