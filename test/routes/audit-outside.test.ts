import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { leafHash } from '../../src/audit/merkle.ts';
import { framedEntries } from '../../src/audit/tile-files.ts';
import { listenHttp } from '../../src/server/index.ts';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { openServedHouse, type ServedHouse } from '../support/served-guardian.ts';

suite('a stranger', () => {
  let home: Home;
  before(async () => {
    home = await makeHome();
  });
  after(() => home.remove());

  test('verifies a proof offline, with the public key alone', async () => {
    assert.equal((await guardian(home, ['keys', 'init'])).exitCode, 0);
    // Another configuration than at the start before is an entry.
    const changed = await guardian(home, ['audit', 'show', '--json'], {
      environment: { GUARDIAN_LOG_LEVEL: 'error' },
    });
    const shown = changed.objects.at(-1)?.entries as { index: number; entry: Record<string, unknown> }[];
    const entry = shown.find((each) => each.entry.action === 'config.change');
    assert.deepEqual((entry?.entry.detail as { fields: string[] } | undefined)?.fields, ['log.level']);
    assert.ok(!JSON.stringify(entry).includes('"error"'), 'names of fields, no values');
    const index = String(entry?.index);
    const [proof, key] = [join(home.folder, 'entry.tlog-proof'), join(home.folder, 'log.pem')];
    assert.equal((await guardian(home, ['audit', 'prove', index, '--out', proof])).exitCode, 0);
    await writeFile(key, (await guardian(home, ['audit', 'key'])).stdout);

    const elsewhere = await makeHome();
    try {
      const verified = await guardian(elsewhere, ['audit', 'verify-proof', proof, '--key', key, '--json']);
      assert.equal(verified.exitCode, 0, verified.stderr);
      const { verified: isVerified, entry: proven } = verified.objects.at(-1) ?? {};
      assert.equal(isVerified, true);
      assert.deepEqual(proven, entry?.entry);
      const text = await readFile(proof, 'utf8');
      await writeFile(proof, text.replace(`index ${index}`, `index ${Number(index) + 1}`));
      assert.equal((await guardian(elsewhere, ['audit', 'verify-proof', proof, '--key', key])).exitCode, 1);
      await writeFile(proof, text);
      const witness = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
      const wanting = ['audit', 'verify-proof', proof, '--key', key, '--witness-key', witness];
      assert.equal((await guardian(elsewhere, wanting)).exitCode, 1);
      wanting.splice(-1, 1, 'nonsense');
      assert.equal((await guardian(elsewhere, wanting)).exitCode, 2);
    } finally {
      await elsewhere.remove();
    }
  });
});

suite('tiles over HTTP', () => {
  let house: ServedHouse;
  let server: Awaited<ReturnType<typeof listenHttp>>;
  before(async () => {
    house = await openServedHouse({ config: { audit: { publicTiles: true } } });
    for (let n = 0; n < 300; n++) {
      const what = { action: 'server.request', principal: 'p', subject: `s${n}`, detail: {} };
      if (n < 299) void house.guardian.log.append({ kind: 'event', ...what });
      else await house.guardian.log.append({ kind: 'event', ...what });
    }
    await house.guardian.log.checkpoint();
    server = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await server.close();
    await house.close();
  });
  const get = (path: string) => fetch(new URL(path, server.url));

  test('are served to anyone where the configuration says so, under the paths of C2SP', async () => {
    const answer = await get('/checkpoint');
    assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
    const [origin, size] = (await answer.text()).split('\n');
    assert.equal(origin, house.guardian.log.origin);
    const rest = Number(size) % 256;
    const full = await get('/tile/0/000');
    assert.equal(full.headers.get('content-type'), 'application/octet-stream');
    assert.match(full.headers.get('cache-control') ?? '', /immutable/);
    const tile = Buffer.from(await full.arrayBuffer());
    assert.equal(tile.length, 8192);
    const bundle = Buffer.from(await (await get('/tile/entries/000')).arrayBuffer());
    assert.deepEqual(Buffer.concat([...framedEntries(bundle)].map(leafHash)), tile);
    const partial = await get(`/tile/0/001.p/${rest}`);
    assert.equal((await partial.arrayBuffer()).byteLength, rest * 32);
    assert.equal(partial.headers.get('cache-control'), 'no-store');
    assert.equal((await (await get('/tile/1/000.p/1')).arrayBuffer()).byteLength, 32);
    assert.equal((await get('/tile/entries/001.p/3')).status, 200);
    for (const path of [
      ...['/tile/0/001', `/tile/0/001.p/${rest + 1}`, '/tile/0/002', '/tile/1/000', '/tile/2/000.p/1'],
      ...[
        '/tile/0/000.p/0',
        '/tile/0/000.p/256',
        '/tile/0/0',
        '/tile/00/000',
        '/tile/64/000',
        '/tile/8/0/000',
      ],
      ...['/tile/0/x000/000', '/tile/0/..%2f..%2fcheckpoint', '/tile/entries/000%00'],
    ]) {
      const { status } = await get(path);
      assert.ok(status === 404 || status === 400, `${path}: ${status}`);
    }
  });

  test('need a key for everything else of the log, and everywhere without that configuration', async () => {
    assert.equal((await get('/v1/audit')).status, 401);
    assert.equal((await get('/v1/audit/consistency?from=1&to=2')).status, 401);
    const closed = await openServedHouse();
    const other = await listenHttp(closed.guardian, { host: '127.0.0.1', port: 0 });
    for (const path of ['/checkpoint', '/tile/0/000.p/1'])
      assert.equal((await fetch(new URL(path, other.url))).status, 401, path);
    await other.close();
    await closed.close();
  });

  test('lead, like the metric, to what the coverage is', async () => {
    assert.match(await house.guardian.metrics.text(), /^guardian_audit_coverage 1$/m);
    const { hashes } = await house.guardian.log.consistencyProof(1, 300);
    assert.ok(hashes.length > 0);
  });
});
