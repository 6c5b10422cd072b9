import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { type Agent, request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { after, before, mock, suite, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { CertificateShop, type Issued } from '../../test/support/certificates.ts';
import { openServedHouse, type ServedHouse } from '../../test/support/served-guardian.ts';
import { ManualClock } from '../base/index.ts';
import { configurationSchema, type ServerConfig } from '../configuration.ts';
import { buildServer } from './build-server.ts';
import { readCertificate } from './client-certificate.ts';
import type { ServedGuardian } from './handler.ts';
import { type HttpListening, listenHttp } from './listen.ts';
import { readTls } from './tls-files.ts';

const shop = new CertificateShop();
const site = shop.authority('Site');
const foreign = shop.authority('Foreign');
const server = shop.issue(site, {
  names: ['guardian.test'],
  alternative: 'DNS:localhost,IP:127.0.0.1,DNS:guardian.test',
  usage: 'serverAuth',
});
const sensor = shop.issue(site, { names: ['sensor-7'] });

let house: ServedHouse;
let http: HttpListening;
let key: string;

before(async () => {
  house = await openServedHouse({
    // A little ahead: certificates that tests make later begin after now.
    now: Date.now() + 60_000,
    withModel: false,
    config: {
      server: {
        allowedHosts: ['guardian.test'],
        tls: { certFile: server.certFile, keyFile: server.keyFile, clientCaFile: site.certFile },
      },
    },
  });
  http = await listenHttp(house.guardian, { host: '0.0.0.0', port: 0 });
  key = (await manage<{ key: string }>('POST', '', { label: 'person', roles: ['viewer'] })).key;
});

after(async () => {
  await http.close();
  await house.close();
  shop.close();
});

/** A request to the routes of access as the owner. */
async function manage<T>(method: 'POST' | 'DELETE' | 'GET', path: string, payload?: object): Promise<T> {
  const owner = await buildServer(house.guardian, { trust: 'local' });
  const response = await owner.inject({
    method,
    url: `/v1/access${path}`,
    ...(payload !== undefined && { payload }),
  });
  await owner.close();
  assert.ok(response.statusCode < 300, response.body);
  return response.json<T>();
}

const port = () => Number(new URL(http.url).port);

interface Answer {
  readonly status: number;
  readonly body: { readonly code?: string };
  readonly socket: { readonly protocol: string | null; readonly cipher: string };
}

/** A request over a fresh connection, that trusts the site's authority. */
function call(
  path: string,
  options: ConnectionOptions & { readonly headers?: Record<string, string>; readonly agent?: Agent } = {},
): Promise<Answer> {
  const { headers, agent, ...tls } = options;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        port: port(),
        path,
        ca: site.cert,
        headers: { host: `localhost:${port()}`, ...headers },
        agent: agent ?? false,
        servername: 'localhost',
        ...tls,
      },
      (response) => {
        const socket = response.socket as TLSSocket;
        const about = { protocol: socket.getProtocol(), cipher: socket.getCipher().name };
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: text === '' ? {} : (JSON.parse(text) as Answer['body']),
            socket: about,
          }),
        );
      },
    );
    outgoing.once('error', reject);
    outgoing.end();
  });
}

const shown = ({ cert, key }: Issued) => ({ cert, key });
const bearer = () => ({ authorization: `Bearer ${key}` });

suite('HTTPS', () => {
  test('listens on every address, answers to its own names, and speaks TLS 1.3', async () => {
    const { status, socket } = await call('/v1/status', { headers: bearer() });
    assert.equal(status, 200);
    assert.equal(socket.protocol, 'TLSv1.3');
    const named = { host: `guardian.test:${port()}`, ...bearer() };
    assert.equal((await call('/v1/status', { headers: named, servername: 'guardian.test' })).status, 200);
    for (const host of ['guardian.test', 'guardian.test:1', 'evil.test:443', `192.0.2.1:${port()}`]) {
      assert.equal(
        (await call('/v1/status', { headers: { ...bearer(), host } })).body.code,
        'server.host-refused',
      );
    }
    const origin = (scheme: string) => ({ ...bearer(), origin: `${scheme}://localhost:${port()}` });
    assert.equal((await call('/v1/status', { headers: origin('https') })).status, 200);
    assert.equal((await call('/v1/status', { headers: origin('http') })).body.code, 'server.origin-refused');
  });

  test('speaks no older TLS unless it is configured, and then with forward secrecy alone', async () => {
    await assert.rejects(call('/v1/status', { headers: bearer(), maxVersion: 'TLSv1.2' }));
    const tls = { certFile: server.certFile, keyFile: server.keyFile, minVersion: 'TLSv1.2' };
    const old = await listenHttp(configured({ tls }), { host: '127.0.0.1', port: 0 });
    const ask = (tls: ConnectionOptions) =>
      new Promise<string | null>((resolve, reject) => {
        const socket = connect({ port: Number(new URL(old.url).port), ca: site.cert, ...tls }, () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.once('error', reject);
      });
    assert.equal(await ask({ host: '127.0.0.1', maxVersion: 'TLSv1.2' }), 'TLSv1.2');
    assert.equal(await ask({ host: '127.0.0.1' }), 'TLSv1.3');
    await assert.rejects(ask({ host: '127.0.0.1', maxVersion: 'TLSv1.1' }));
    await assert.rejects(
      ask({ host: '127.0.0.1', maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA256:AES256-SHA' }),
    );
    await old.close();
  });

  test('closes on who speaks plain HTTP to it, and goes on', async () => {
    const socket = connectPlain(port(), '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    let said = '';
    socket.on('data', (data) => {
      said += data.toString('latin1');
    });
    await once(socket, 'close');
    assert.doesNotMatch(said, /HTTP|error/);
    assert.equal((await call('/v2/health/live')).status, 200);
  });

  test('takes a renewed certificate without a restart, and keeps the old one where the new is bad', async () => {
    const files = ['renewed.pem', 'renewed.key'].map((name) => join(shop.folder, name));
    const [certFile = '', keyFile = ''] = files;
    copyFileSync(server.certFile, certFile);
    copyFileSync(server.keyFile, keyFile);
    const renewing = await listenHttp(configured({ tls: { certFile, keyFile } }), {
      host: '127.0.0.1',
      port: 0,
    });
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const options = { host: '127.0.0.1', port: Number(new URL(renewing.url).port), ca: site.cert };
        const socket = connect(options, () => {
          resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const first = await serial();
    assert.equal(first, new X509Certificate(server.cert).serialNumber);
    const next = shop.issue(site, { alternative: 'DNS:localhost,IP:127.0.0.1', usage: 'serverAuth' });
    writeFileSync(certFile, next.cert);
    await assert.rejects(renewing.reload(), { code: 'server.tls-invalid' });
    assert.equal(await serial(), first);
    writeFileSync(keyFile, next.key);
    await renewing.reload();
    assert.equal(await serial(), new X509Certificate(next.cert).serialNumber);
    await renewing.close();
  });
});

suite('the files of TLS', () => {
  const expired = shop.issue(site, { names: ['old'], usage: 'serverAuth', days: -1 });
  const early = shop.issue(site, { names: ['early'], usage: 'serverAuth' });
  const open = shop.issue(site, { names: ['open'], usage: 'serverAuth' });
  chmodSync(open.keyFile, 0o640);
  const text = join(shop.folder, 'text.pem');
  writeFileSync(text, 'not a certificate', { mode: 0o600 });
  const long = join(shop.folder, 'long.pem');
  writeFileSync(long, 'x'.repeat(300_000), { mode: 0o600 });
  const tls = (fields: Partial<ServerConfig['tls']>) =>
    configurationSchema.parse({
      server: { tls: { certFile: server.certFile, keyFile: server.keyFile, ...fields } },
    }).server.tls;

  const rows: readonly (readonly [string, Partial<ServerConfig['tls']>, RegExp])[] = [
    [
      'a key that a group may read',
      { certFile: open.certFile, keyFile: open.keyFile },
      /mode 0640, expected 0600/,
    ],
    ['a key that is not the certificate’s', { keyFile: sensor.keyFile }, /its own private key/],
    [
      'a certificate that has expired',
      { certFile: expired.certFile, keyFile: expired.keyFile },
      /expired at/,
    ],
    [
      'a file that is not there',
      { certFile: join(shop.folder, 'none.pem') },
      /cannot read server.tls.certFile/,
    ],
    ['a key that is not there', { keyFile: join(shop.folder, 'none.key') }, /cannot read server.tls.keyFile/],
    ['text for a certificate', { certFile: text }, /expected a certificate/],
    ['text for a key', { keyFile: text }, /expected a certificate/],
    ['text for an authority', { clientCaFile: text }, /expected a certificate/],
    ['a folder', { certFile: shop.folder }, /not a plain file/],
    ['a file without end', { certFile: long }, /longer than/],
  ];
  for (const [what, fields, says] of rows) {
    test(`are refused with ${what}`, async () => {
      await assert.rejects(readTls(tls(fields), new ManualClock(Date.now())), (error: Error) => {
        assert.equal((error as Error & { code: string }).code, 'server.tls-invalid');
        assert.match(error.message, says);
        return true;
      });
    });
  }

  test('are refused before their time, and are not needed at all', async () => {
    const clock = new ManualClock(Date.now() - 86_400_000);
    const fields = { certFile: early.certFile, keyFile: early.keyFile };
    await assert.rejects(readTls(tls(fields), clock), { code: 'server.tls-invalid' });
    assert.equal(await readTls(configurationSchema.parse({}).server.tls, clock), undefined);
  });

  test('come together in the configuration', () => {
    for (const fields of [
      { certFile: 'a' },
      { keyFile: 'a' },
      { clientCaFile: 'a' },
      { minVersion: 'TLSv1.1' },
    ]) {
      assert.equal(configurationSchema.safeParse({ server: { tls: fields } }).success, false);
    }
  });

  test('are demanded elsewhere than on loopback, with the names of the server', async () => {
    const guardian = configured({ tls: { certFile: server.certFile, keyFile: server.keyFile } });
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'guardian.test']) {
      await assert.rejects(listenHttp(guardian, { host, port: 0 }), (error: Error) => {
        assert.match(error.message, /server.allowedHosts/);
        return true;
      });
    }
  });
});

suite('client certificates', () => {
  test('give the roles that their name or their fingerprint was given, and no other', async () => {
    assert.equal((await call('/v1/status')).body.code, 'server.key-missing');
    const denied = mock.method(house.guardian, 'denied');
    const refused = await call('/v1/status', shown(sensor));
    assert.equal(refused.status, 403);
    assert.equal(refused.body.code, 'server.role-missing');
    const byName = await manage<{ id: string; certificate: string }>('POST', '/certificates', {
      certificate: 'sensor-7',
      roles: ['submitter'],
    });
    assert.equal(byName.certificate, 'sensor-7');
    assert.equal((await call('/v1/status', shown(sensor))).status, 200);
    assert.equal((await call('/v1/audit', shown(sensor))).status, 403);
    const { fingerprint256, fingerprint } = {
      fingerprint256: new X509Certificate(sensor.cert).fingerprint256,
      fingerprint: readCertificate(new X509Certificate(sensor.cert)).fingerprint,
    };
    const byPrint = await manage<{ id: string; certificate: string }>('POST', '/certificates', {
      certificate: fingerprint256,
      roles: ['auditor'],
    });
    assert.equal(byPrint.certificate, `sha256:${fingerprint}`);
    assert.equal((await call('/v1/audit', shown(sensor))).status, 200);
    const sibling = shop.issue(site, { names: ['sensor-7'] });
    assert.equal((await call('/v1/status', shown(sibling))).status, 200);
    assert.equal((await call('/v1/audit', shown(sibling))).status, 403);

    const list = await manage<{ certificates: { id: string; certificate: string; roles: string[] }[] }>(
      'GET',
      '',
    );
    assert.deepEqual(
      new Map(list.certificates.map(({ certificate, roles }) => [certificate, roles])),
      new Map([
        ['sensor-7', ['submitter']],
        [`sha256:${fingerprint}`, ['auditor']],
      ]),
    );
    await manage('DELETE', `/${byPrint.id}`);
    assert.equal((await call('/v1/status', shown(sensor))).status, 403, 'revoked by its fingerprint');
    assert.equal((await call('/v1/status', shown(sibling))).status, 200);
    await manage('DELETE', `/${byName.id}`);
    assert.equal((await call('/v1/status', shown(sibling))).status, 403);
    assert.deepEqual(denied.mock.calls[0]?.arguments, [
      {
        principal: 'cert:sensor-7',
        reason: 'server.role-missing',
        action: 'server.request',
        subject: 'GET /v1/status',
      },
    ]);
    assert.equal(denied.mock.callCount(), 5);
    denied.mock.restore();
  });

  test('lose their roles when the grant expires', async () => {
    const short = shop.issue(site, { names: ['short'] });
    await manage('POST', '/certificates', { certificate: 'short', roles: ['viewer'], days: 0.5 });
    assert.equal((await call('/v1/status', shown(short))).status, 200);
    house.clock.advance(43_200_000);
    assert.equal((await call('/v1/status', shown(short))).status, 403);
  });

  test('are refused from a foreign or no authority, expired, or not for clients, beside a good key too', async () => {
    await manage('POST', '/certificates', { certificate: 'spy', roles: ['admin'] });
    const rows: readonly (readonly [string, Issued])[] = [
      ['foreign', shop.issue(foreign, { names: ['spy'] })],
      ['self-signed', shop.issue(undefined, { names: ['spy'] })],
      ['expired', shop.issue(site, { names: ['spy'], days: -1 })],
      ['of a server', shop.issue(site, { names: ['spy'], usage: 'serverAuth' })],
      ['an authority of the same name', shop.issue(shop.authority('Site'), { names: ['spy'] })],
    ];
    for (const [what, issued] of rows) {
      for (const headers of [{}, bearer()]) {
        house.clock.advance(60_000);
        const { status, body } = await call('/v1/status', { ...shown(issued), headers });
        assert.equal(`${status} ${body.code}`, '401 server.certificate-wrong', what);
      }
    }
    assert.equal((await call('/v1/status', shown(shop.issue(site, { names: ['spy'] })))).status, 200);
  });

  test('are told from each other by common name, else alternative name, else fingerprint', () => {
    const rows: readonly (readonly [Parameters<CertificateShop['issue']>[1], string | undefined])[] = [
      [{ names: ['a.test'], alternative: 'DNS:b.test' }, 'a.test'],
      [{ alternative: 'DNS:b.test,DNS:c.test' }, 'b.test'],
      [{ alternative: 'URI:spiffe://site.test/sensor' }, 'spiffe://site.test/sensor'],
      [{ names: ['one', 'two'] }, undefined],
      [{ names: ['sha256:00'] }, undefined],
      [{}, undefined],
    ];
    for (const [options, name] of rows) {
      const read = readCertificate(new X509Certificate(shop.issue(site, options).cert));
      assert.equal(read.name, name, JSON.stringify(options));
      assert.match(read.fingerprint, /^[0-9a-f]{64}$/);
    }
  });

  test('are asked for in every connection: no session is resumed', async () => {
    const options = { host: '127.0.0.1', port: port(), ca: site.cert, ...shown(sensor) };
    const open = (session?: Buffer) =>
      new Promise<{ session: Buffer | undefined; reused: boolean }>((resolve, reject) => {
        let ticket: Buffer | undefined;
        let reused = false;
        const socket: TLSSocket = connect({ ...options, ...(session !== undefined && { session }) }, () => {
          reused = socket.isSessionReused();
          socket.write(
            `GET /v2/health/live HTTP/1.1\r\nHost: localhost:${port()}\r\nConnection: close\r\n\r\n`,
          );
        });
        socket.on('session', (given) => {
          ticket = given;
        });
        socket.resume();
        socket.once('error', reject);
        socket.once('close', () => resolve({ session: ticket, reused }));
      });
    const { session } = await open();
    const again = await open(session);
    assert.equal(again.reused, false);
  });

  test('outlive no connection: one that expires while it is open is refused', async () => {
    const day = shop.issue(site, { names: ['day'], days: 1 });
    await manage('POST', '/certificates', { certificate: 'day', roles: ['viewer'], days: 30 });
    assert.equal((await call('/v1/status', shown(day))).status, 200);
    house.clock.advance(86_400_000);
    assert.equal((await call('/v1/status', shown(day))).body.code, 'server.certificate-wrong');
  });
});

/** The guardian of the house with another `server` section. */
function configured(section: Readonly<Record<string, unknown>>): ServedGuardian {
  const config = configurationSchema.parse({ server: section });
  return new Proxy(house.guardian, {
    get: (target, name) => {
      if (name === 'config') return config;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
