import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CertificateShop } from '../../../test/support/certificates.ts';
import { freePort } from '../../../test/support/free-port.ts';
import {
  exfiltration,
  NOW,
  openNotices,
  openReceiver,
  type Received,
  SECRET,
  secretFile,
  temporaryFolder,
} from '../../../test/support/notice-house.ts';
import { Metrics } from '../../base/index.ts';
import { alertsConfigSchema } from '../config.ts';
import { PRODUCT } from '../product.ts';

const keys = (got: readonly Received[]) => got.map(({ headers }) => headers['idempotency-key']);

suite('the webhook', () => {
  test('gets each notice once, signed over its time and its body', async (t) => {
    const folder = temporaryFolder(t);
    const receiver = await openReceiver(t);
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    const { delivery, store, db } = await openNotices(t, [sink], folder);
    await delivery.start();
    const [raised] = await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    const [{ headers, body, path }] = receiver.got as [Received];
    assert.equal(path, '/hook');
    assert.equal(headers['idempotency-key'], `${raised?.uid}.1`);
    assert.equal(headers['guardian-timestamp'], String(NOW / 1000));
    const hmac = createHmac('sha256', SECRET)
      .update(`${NOW / 1000}.${body}`)
      .digest('hex');
    assert.equal(headers['guardian-signature'], `v1=${hmac}`);
    assert.equal(headers['content-type'], 'application/json');
    assert.equal(JSON.parse(body).metadata.product.name, PRODUCT.name);
    assert.equal(receiver.got.length, 1);
    assert.deepEqual(await db.detections.listOutbox(), []);
    assert.equal(delivery.stats.siem?.delivered, 1);
  });

  test('is asked again after growing pauses, with the same key, until it is back', async (t) => {
    const folder = temporaryFolder(t);
    const answers = [500, 503, 302, 401, 429];
    const receiver = await openReceiver(t, (response, n) => {
      const status = answers[n - 1] ?? 200;
      const more =
        status === 302 ? { location: '/elsewhere' } : status === 429 ? { 'retry-after': '30' } : {};
      response.writeHead(status, more).end('what it says is of no interest');
    });
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    const { delivery, store, pauses, lost } = await openNotices(t, [sink], folder);
    await delivery.start();
    await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000, 30_000]);
    assert.equal(receiver.got.length, 6);
    assert.equal(new Set(keys(receiver.got)).size, 1);
    assert.ok(receiver.got.every(({ path }) => path === '/hook'));
    assert.deepEqual(lost, []);
    assert.deepEqual(delivery.stats.siem, { delivered: 1, failures: 5, lost: 0, failing: null });
  });

  test('that was down gets what was raised meanwhile, and holds up no other sink', async (t) => {
    const folder = temporaryFolder(t);
    const port = await freePort();
    const up = await openReceiver(t);
    const secret = secretFile(folder);
    const { delivery, store, db, pauses } = await openNotices(
      t,
      [
        { type: 'webhook', name: 'down', url: `http://127.0.0.1:${port}/`, secretFile: secret },
        { type: 'webhook', name: 'up', url: up.url, secretFile: secret, format: 'cef' },
      ],
      folder,
    );
    await delivery.start();
    await store.record(['10.0.0.5', '10.0.0.6'].map(exfiltration));
    while (up.got.length < 2 || pauses.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.match(up.got[0]?.body ?? '', /^CEF:0\|/);
    assert.equal((await db.detections.listOutbox()).length, 2);
    assert.equal(delivery.stats.down?.failing, 'alerts.sink-failed');
    const back = await openReceiver(t, undefined, port);
    await delivery.idle();
    assert.equal(new Set(keys(back.got)).size, 2);
    assert.equal(back.got.length, 2);
    assert.equal(up.got.length, 2);
    assert.deepEqual(await db.detections.listOutbox(), []);
  });

  test('that refuses a notice for good, or is away too long, leaves an entry for each', async (t) => {
    const folder = temporaryFolder(t);
    const receiver = await openReceiver(t, (response, n) => response.writeHead(n === 1 ? 422 : 500).end());
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    const { delivery, store, lost, clock } = await openNotices(
      t,
      [{ ...sink, giveUpAfterMs: 5_000, concurrency: 1 }],
      folder,
    );
    await delivery.start();
    await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    await store.record([exfiltration('10.0.0.6')]);
    await delivery.idle();
    assert.deepEqual(
      lost.map(({ because, reason }) => [because, reason]),
      [
        ['refused', 'the receiver answered 422'],
        ['expired', 'the receiver answered 500'],
      ],
    );
    assert.ok(clock.now() - NOW > 5_000);
    assert.equal(delivery.stats.siem?.lost, 2);
  });

  test('gets the states of a finding in their order, whatever else is sent at once', async (t) => {
    const folder = temporaryFolder(t);
    const receiver = await openReceiver(t, (response, n) =>
      response.writeHead(n % 5 === 3 ? 500 : 204).end(),
    );
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    const { delivery, store } = await openNotices(t, [{ ...sink, concurrency: 8 }], folder);
    // A sink begins with what is raised after it was first configured.
    await delivery.start();
    await delivery.close();
    const sources = Array.from({ length: 20 }, (_, i) => `10.0.1.${i}`);
    await store.record(sources.map(exfiltration));
    await store.record(sources.map(exfiltration));
    await store.finish();
    await delivery.start();
    await delivery.idle();
    const seen = new Map<string, number>();
    for (const [n, { headers }] of receiver.got.entries()) {
      if ((n + 1) % 5 === 3) continue;
      const [, uid = '', revision = ''] = /^(.*)\.(\d+)$/.exec(String(headers['idempotency-key'])) ?? [];
      assert.ok(Number(revision) > (seen.get(uid) ?? 0), `${uid}.${revision} came late`);
      seen.set(uid, Number(revision));
    }
    assert.equal(seen.size, 20);
    assert.equal(delivery.stats.siem?.delivered, 60);
  });

  test('gets the notice of a process that was killed while it sent it, under the same key', async (t) => {
    const folder = temporaryFolder(t);
    const receiver = await openReceiver(t, (response, n) => {
      if (n === 1) child.kill('SIGKILL');
      else response.writeHead(204).end();
    });
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    const script = fileURLToPath(new URL('../../../test/support/notice-child.ts', import.meta.url));
    const child = spawn(process.execPath, [script, folder, JSON.stringify(sink)], { stdio: 'inherit' });
    const [, signal] = await once(child, 'exit');
    assert.equal(signal, 'SIGKILL');
    const { delivery, db } = await openNotices(t, [sink], folder);
    await delivery.start();
    await delivery.idle();
    assert.equal(receiver.got.length, 2);
    assert.equal(new Set(keys(receiver.got)).size, 1);
    assert.deepEqual(await db.detections.listOutbox(), []);
  });

  test('is refused with a secret that others may read or guess, and keeps the old one at a bad reload', async (t) => {
    const folder = temporaryFolder(t);
    const receiver = await openReceiver(t);
    const sink = { type: 'webhook', name: 'siem', url: receiver.url, secretFile: secretFile(folder) };
    for (const [text, mode] of [
      [SECRET, 0o640],
      ['short', 0o600],
    ] as const) {
      const { delivery } = await openNotices(t, [{ ...sink, secretFile: secretFile(folder, text, mode) }]);
      await assert.rejects(delivery.start(), (error: Error) => {
        assert.equal((error as Error & { code: string }).code, 'alerts.secret-unusable');
        assert.doesNotMatch(error.message, /thirty-two|short$/);
        return true;
      });
    }
    secretFile(folder);
    const { delivery, store } = await openNotices(t, [sink], folder);
    await delivery.start();
    secretFile(folder, 'short');
    await assert.rejects(delivery.reload(), { code: 'alerts.secret-unusable' });
    await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    const [{ headers, body }] = receiver.got as [Received];
    const hmac = createHmac('sha256', SECRET)
      .update(`${headers['guardian-timestamp']}.${body}`)
      .digest('hex');
    assert.equal(headers['guardian-signature'], `v1=${hmac}`);
  });

  test('goes to whom the authorities of its file vouch for, read again at a reload', async (t) => {
    const folder = temporaryFolder(t);
    const shop = new CertificateShop();
    t.after(() => shop.close());
    const [site, foreign] = [shop.authority('Site'), shop.authority('Foreign')];
    const own = shop.issue(site, { usage: 'serverAuth', alternative: 'IP:127.0.0.1' });
    const got: string[] = [];
    const server = createTlsServer({ key: own.key, cert: own.cert }, (request, response) => {
      got.push(String(request.headers['idempotency-key']));
      request.resume().once('end', () => response.writeHead(204).end());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, foreign.cert);
    const sink = {
      ...{ type: 'webhook', name: 'siem', url: `https://127.0.0.1:${port}/`, caFile },
      secretFile: secretFile(folder),
    };
    const { delivery, store, pauses } = await openNotices(t, [sink], folder);
    const metrics = new Metrics();
    delivery.observe(metrics);
    await delivery.start();
    await store.record([exfiltration('10.0.0.5')]);
    while (pauses.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(got, [], 'nothing went to a receiver that nobody vouched for');
    const behind = await metrics.text();
    assert.match(behind, /guardian_notices_waiting\{sink="siem"\} 1$/m);
    assert.match(behind, /guardian_notices_lag_seconds\{sink="siem"\} [1-9]/);
    writeFileSync(caFile, site.cert);
    await delivery.reload();
    await delivery.idle();
    assert.equal(got.length, 1);
    writeFileSync(caFile, foreign.cert);
    await delivery.reload();
    const before = pauses.length;
    await store.record([exfiltration('10.0.0.6')]);
    while (pauses.length === before) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(got.length, 1, 'the connection that was open is not used any more');
    const text = await metrics.text();
    assert.match(text, /guardian_notices_total\{sink="siem",result="delivered"\} 1$/m);
    assert.match(text, /guardian_notices_total\{sink="siem",result="retried"\} [2-9]/);
  });

  test('is configured by https, or http on this host, and never with credentials in the address', () => {
    const isTaken = (url: string, more = {}) =>
      alertsConfigSchema.safeParse({
        sinks: [{ type: 'webhook', name: 'a', secretFile: '/etc/guardian/hook', url, ...more }],
      }).success;
    assert.ok(isTaken('https://siem.example.org/in'));
    assert.ok(isTaken('http://127.0.0.1:8088/') && isTaken('http://[::1]/') && isTaken('http://localhost/'));
    assert.ok(!isTaken('http://siem.example.org/') && !isTaken('http://127.evil.example/'));
    assert.ok(isTaken('http://siem.example.org/', { allowPlainHttp: true }));
    for (const url of [
      'https://a:b@siem.example.org/',
      'ftp://siem.example.org/',
      'siem',
      'file:///etc/passwd',
    ]) {
      assert.ok(!isTaken(url, { allowPlainHttp: true }), url);
    }
    assert.ok(!isTaken('https://siem.example.org/', { secretFile: 'hook' }));
  });
});
