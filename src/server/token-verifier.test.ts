import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, mock, suite, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import {
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { openServedHouse, type ServedHouse } from '../../test/support/served-guardian.ts';
import { ManualClock } from '../base/index.ts';
import { configurationSchema } from '../configuration.ts';
import { buildServer } from './build-server.ts';
import { SERVER_LIMITS } from './limits.ts';
import { TokenVerifier } from './token-verifier.ts';

const ISSUER = 'https://issuer.test/realms/site';
const HOST = 'guardian.test:8411';

interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

async function makeKey(kid: string, alg: string): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

const clock = new ManualClock();
const seconds = () => Math.floor(clock.now() / 1000);
const folder = mkdtempSync(join(tmpdir(), 'guardian-issuer-'));
const jwksFile = join(folder, 'jwks.json');
let es: IssuerKey;
let rsa: IssuerKey;
let ed: IssuerKey;
let stranger: IssuerKey;
let house: ServedHouse;
let app: FastifyInstance;

const section = (fields: Readonly<Record<string, unknown>> = {}) => ({
  issuer: ISSUER,
  audience: 'guardian',
  jwksFile,
  rolesClaim: 'realm_access.roles',
  roleMap: [
    { value: 'analysts', roles: ['viewer', 'auditor'] },
    { value: 'leads', roles: ['approver'] },
  ],
  ...fields,
});

function verifier(fields: Readonly<Record<string, unknown>> = {}): TokenVerifier {
  const { server } = configurationSchema.parse({ server: { oidc: section(fields) } });
  const made = TokenVerifier.of(server.oidc, clock);
  assert.ok(made);
  return made;
}

const claims = (fields: Readonly<Record<string, unknown>> = {}): JWTPayload => {
  const all: JWTPayload = {
    iss: ISSUER,
    aud: 'guardian',
    sub: 'ada',
    iat: seconds(),
    exp: seconds() + 300,
    realm_access: { roles: ['analysts', 'unknown'] },
    ...fields,
  };
  // JSON leaves undefined out.
  return JSON.parse(JSON.stringify(all)) as JWTPayload;
};

function sign(
  payload: JWTPayload,
  key: IssuerKey = es,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })
    .sign(key.privateKey);
}

before(async () => {
  es = await makeKey('es', 'ES256');
  rsa = await makeKey('rsa', 'RS256');
  ed = await makeKey('ed', 'EdDSA');
  stranger = await makeKey('es', 'ES256');
  const shared: JWK = { kty: 'oct', kid: 'shared', k: Buffer.from('0'.repeat(64)).toString('base64url') };
  writeFileSync(jwksFile, JSON.stringify({ keys: [es.jwk, rsa.jwk, ed.jwk, shared] }));
  house = await openServedHouse({ withModel: false, config: { server: { oidc: section() } } });
  app = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: [HOST] });
});

after(async () => {
  await app.close();
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

suite('OIDC tokens', () => {
  test('of each allowed algorithm are taken, with roles from the mapped claim', async () => {
    for (const key of [es, rsa, ed]) {
      assert.deepEqual(await verifier().verify(await sign(claims(), key)), {
        principal: 'oidc:ada',
        method: 'oidc',
        roles: ['viewer', 'auditor'],
      });
    }
    const roles = async (fields: Record<string, unknown>, rolesClaim = 'groups') =>
      (await verifier({ rolesClaim }).verify(await sign(claims(fields)))).roles;
    assert.deepEqual(await roles({ groups: 'leads' }), ['approver']);
    assert.deepEqual(await roles({ 'https://x.test/roles': ['leads'] }, 'https://x.test/roles'), [
      'approver',
    ]);
    for (const groups of [undefined, 7, { leads: true }, ['Leads', 'admin'], [['leads']], '']) {
      assert.deepEqual(await roles({ groups }), [], JSON.stringify(groups));
    }
    assert.deepEqual(await roles({}, 'constructor.name'), []);
    assert.deepEqual(
      (await verifier().verify(await sign(claims({ aud: ['other', 'guardian'] })))).roles.length,
      2,
    );
  });

  test('are taken within the tolerance of clocks, and not beyond it', async () => {
    const at = async (fields: Record<string, unknown>) => verifier().verify(await sign(claims(fields)));
    assert.ok(await at({ exp: seconds() - 29 }));
    assert.ok(await at({ nbf: seconds() + 29 }));
    await assert.rejects(at({ exp: seconds() - 30 }), { code: 'server.token-expired' });
    await assert.rejects(at({ nbf: seconds() + 31 }), { code: 'server.token-wrong' });
  });

  const bad: readonly (readonly [string, () => string | Promise<string>, RegExp?])[] = [
    ['that expired', () => sign(claims({ exp: seconds() - 3_600 })), /expired/],
    ['that are not valid yet', () => sign(claims({ nbf: seconds() + 3_600 })), /nbf/],
    ['of another issuer', () => sign(claims({ iss: 'https://evil.test' })), /"iss"/],
    ['of no issuer', () => sign(claims({ iss: undefined })), /"iss"/],
    ['for another audience', () => sign(claims({ aud: 'grafana' })), /"aud"/],
    ['for no audience', () => sign(claims({ aud: undefined })), /"aud"/],
    ['without exp', () => sign(claims({ exp: undefined })), /"exp"/],
    ['with an exp that is no number', () => sign(claims({ exp: 'never' })), /"exp"/],
    ['that are good for years', () => sign(claims({ exp: seconds() + 1e8 })), /longer/],
    ['without a subject', () => sign(claims({ sub: undefined })), /"sub"/],
    ['with an empty subject', () => sign(claims({ sub: '' })), /"sub"/],
    ['with a subject that breaks lines', () => sign(claims({ sub: 'ada\nlocal:0' })), /"sub"/],
    ['with a subject of another script', () => sign(claims({ sub: 'аda' })), /"sub"/],
    ['with a subject that is no text', () => sign(claims({ sub: ['ada'] })), /"sub"|not one for us/],
    ['without a signature (alg none)', () => new UnsecuredJWT(claims()).encode()],
    ['that name alg none with a key id', () => forge({ alg: 'none', kid: 'es' }, '')],
    [
      'signed with HS256 and the public key as secret',
      async () =>
        new SignJWT(claims())
          .setProtectedHeader({ alg: 'HS256', kid: 'rsa' })
          .sign(new TextEncoder().encode(await exportSPKI(rsa.publicKey))),
    ],
    [
      'signed with HS256 and a shared key of the set',
      () =>
        new SignJWT(claims())
          .setProtectedHeader({ alg: 'HS256', kid: 'shared' })
          .sign(Buffer.from('0'.repeat(64))),
    ],
    [
      'of an algorithm that is not allowed',
      async () => sign(claims(), { ...(await makeKey('rsa', 'RS512')) }),
    ],
    ['of a key that is not known', () => sign(claims(), es, { kid: 'nobody' })],
    ['of a stranger under a known key id', () => sign(claims(), stranger)],
    ['that bring their own key', () => sign(claims(), stranger, { jwk: stranger.jwk, kid: undefined })],
    ['that name where their keys are', () => sign(claims(), stranger, { jku: 'https://evil.test/jwks' })],
    ['of one key under the id of another', () => sign(claims(), es, { kid: 'rsa' })],
    ['whose claims were changed', async () => swap(await sign(claims()), 1, claims({ sub: 'root' }))],
    [
      'with a critical extension',
      () => forge({ alg: 'ES256', kid: 'es', crit: ['b64'], b64: false }, 'AAAA'),
    ],
    ['that are oversized', () => sign(claims({ padding: 'x'.repeat(SERVER_LIMITS.tokenLength) })), /longer/],
    ['that are cut short', async () => (await sign(claims())).slice(0, -10)],
    ['that are no JSON', () => 'AAAA.AAAA.AAAA'],
  ];
  for (const [what, make, says] of bad) {
    test(`are refused ${what}`, async () => {
      const token = await make();
      await assert.rejects(verifier().verify(token), (error: Error & { code?: string }) => {
        assert.match(error.code ?? '', /^server\.token-(wrong|expired)$/, String(error));
        if (says !== undefined) assert.match(error.message, says);
        assert.ok(error.message.length < 200 && !error.message.includes(token.slice(0, 40)));
        return true;
      });
      const denied = mock.method(house.guardian, 'denied');
      house.clock.advance(60_000);
      const response = await app.inject({
        url: '/v1/status',
        headers: { host: HOST, authorization: `Bearer ${token}` },
      });
      assert.ok([401, 431].includes(response.statusCode), response.body);
      assert.equal(denied.mock.callCount(), 1);
      denied.mock.restore();
    });
  }

  test('open the door to what their roles allow, and to nothing else', async () => {
    const server = await openServedHouse({ withModel: false, config: { server: { oidc: section() } } });
    const gate = await buildServer(server.guardian, { trust: 'api-keys', allowedHosts: [HOST] });
    const authorization = `Bearer ${await sign(claims())}`;
    const get = async (url: string) =>
      (await gate.inject({ url, headers: { host: HOST, authorization } })).statusCode;
    assert.equal(await get('/v1/audit'), 200);
    assert.equal(await get('/v1/access'), 403);
    const none = `Bearer ${await sign(claims({ realm_access: {} }))}`;
    const refused = await gate.inject({ url: '/v1/status', headers: { host: HOST, authorization: none } });
    assert.equal(refused.json<{ code: string }>().code, 'server.role-missing');
    await gate.close();
    await server.close();
  });

  test('are strangers where no issuer is configured, and unsafe settings are refused', async () => {
    assert.equal(TokenVerifier.of(configurationSchema.parse({}).server.oidc, clock), undefined);
    const wrong: readonly Readonly<Record<string, unknown>>[] = [
      { audience: null },
      { jwksFile: null },
      { jwksUri: 'https://issuer.test/jwks' },
      { jwksFile: null, jwksUri: 'http://issuer.test/jwks' },
      { jwksFile: null, jwksUri: 'http://127.0.0.1.issuer.test/jwks' },
      { jwksFile: null, jwksUri: 'https://user:word@issuer.test/jwks' },
      { jwksFile: null, jwksUri: 'file:///etc/passwd' },
      { algorithms: ['none'] },
      { algorithms: ['HS256'] },
      { algorithms: [] },
      { roleMap: [{ value: 'x', roles: ['root'] }] },
    ];
    for (const fields of wrong) {
      const parsed = configurationSchema.safeParse({ server: { oidc: section(fields) } });
      assert.equal(parsed.success, false, JSON.stringify(fields));
    }
  });
});

suite("the issuer's keys", () => {
  let issuer: Server;
  let answer: () => { status?: number; body: string; headers?: Record<string, string> };
  let asked = 0;

  before(async () => {
    issuer = createServer((_, response) => {
      asked++;
      const { status = 200, body, headers = {} } = answer();
      response.writeHead(status, headers).end(body);
    }).listen(0, '127.0.0.1');
    await once(issuer, 'listening');
  });
  after(() => issuer.close());

  const remote = () => {
    asked = 0;
    const { port } = issuer.address() as AddressInfo;
    return verifier({ jwksFile: null, jwksUri: `http://127.0.0.1:${port}/jwks` });
  };
  const keys = (...all: IssuerKey[]) => JSON.stringify({ keys: all.map(({ jwk }) => jwk) });

  test('are fetched once, kept, and fetched again for a key that is new, at most once in 30 seconds', async () => {
    answer = () => ({ body: keys(es) });
    const tokens = remote();
    await Promise.all([1, 2, 3].map(async () => tokens.verify(await sign(claims()))));
    assert.equal(asked, 1);
    answer = () => ({ body: keys(rsa) });
    await assert.rejects(tokens.verify(await sign(claims(), rsa)), { code: 'server.token-wrong' });
    assert.equal(asked, 1, 'too early to ask again');
    clock.advance(SERVER_LIMITS.issuerCooldownMs);
    assert.equal((await tokens.verify(await sign(claims(), rsa))).principal, 'oidc:ada');
    assert.equal(asked, 2);
    await assert.rejects(tokens.verify(await sign(claims(), es)), { code: 'server.token-wrong' });
    for (let i = 0; i < 20; i++) {
      await assert.rejects(tokens.verify(await sign(claims(), es, { kid: `made-up-${i}` })), {
        code: 'server.token-wrong',
      });
    }
    assert.equal(asked, 2);
  });

  test('go on being used while the issuer is away, for an hour after they grew old', async () => {
    answer = () => ({ body: keys(es) });
    const tokens = remote();
    await tokens.verify(await sign(claims()));
    answer = () => ({ status: 500, body: 'down' });
    clock.advance(600_000);
    assert.ok(await tokens.verify(await sign(claims())));
    assert.equal(asked, 2);
    clock.advance(SERVER_LIMITS.issuerStaleMs);
    await assert.rejects(tokens.verify(await sign(claims())), {
      code: 'server.issuer-unavailable',
      retry: true,
    });
    answer = () => ({ body: keys(es) });
    clock.advance(SERVER_LIMITS.issuerCooldownMs);
    assert.ok(await tokens.verify(await sign(claims())));
  });

  test('are not taken over a redirect, in excess, or in any other shape', async () => {
    const answers: ReturnType<typeof answer>[] = [
      { status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } },
      { body: JSON.stringify({ keys: [], padding: 'x'.repeat(SERVER_LIMITS.issuerBytes) }) },
      { body: JSON.stringify({ keys: Array.from({ length: SERVER_LIMITS.issuerKeys + 1 }, () => es.jwk) }) },
      { body: 'not JSON' },
      { body: '[]' },
      { body: 'null' },
    ];
    for (const each of answers) {
      answer = () => each;
      const tokens = remote();
      await assert.rejects(tokens.verify(await sign(claims())), { code: 'server.issuer-unavailable' });
      await assert.rejects(tokens.verify(await sign(claims())), { code: 'server.issuer-unavailable' });
      assert.equal(asked, 1, 'a stranger cannot make the server ask again and again');
    }
  });

  test('with private parts are left out, and a file is read anew when asked to', async () => {
    const file = join(folder, 'rotating.json');
    writeFileSync(file, JSON.stringify({ keys: [{ ...(await exportJWK(es.privateKey)), kid: 'es' }] }));
    const tokens = verifier({ jwksFile: file });
    await assert.rejects(tokens.verify(await sign(claims())), { code: 'server.token-wrong' });
    writeFileSync(file, keys(es));
    await tokens.refresh();
    assert.ok(await tokens.verify(await sign(claims())));
    rmSync(file);
    await assert.rejects(tokens.refresh(), { code: 'server.issuer-unavailable' });
    assert.ok(await tokens.verify(await sign(claims())));
  });
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function forge(header: Readonly<Record<string, unknown>>, signature: string): string {
  return `${part(header)}.${part(claims())}.${signature}`;
}

function swap(token: string, at: number, value: unknown): string {
  return token
    .split('.')
    .map((each, i) => (i === at ? part(value) : each))
    .join('.');
}
