import assert from 'node:assert/strict';
import { after, before, mock, suite, test } from 'node:test';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { buildServer, type Role, SERVER_ERRORS, SERVER_LIMITS } from '../../src/server/index.ts';
import { openServedHouse, type ServedHouse, sentFlow } from '../support/served-guardian.ts';

const HOST = 'guardian.test:8411';

let house: ServedHouse;
let app: FastifyInstance;
let owner: FastifyInstance;
let event: Record<string, unknown>;
const keys: Record<string, string> = {};

before(async () => {
  house = await openServedHouse();
  app = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: [HOST] });
  owner = await buildServer(house.guardian, { trust: 'local' });
  keys.expired = await addKey('short', ['viewer'], 1);
  house.clock.advance(2 * 86_400_000);
  keys.submitter = await addKey('feeder', ['submitter']);
  keys.viewer = await addKey('reader', ['viewer']);
  keys.revoked = await addKey('gone', ['viewer']);
  await owner.inject({ method: 'DELETE', url: `/v1/access/${keys.revoked.split('_')[1]}` });
  const { columns } = house.schema.schema;
  event = Object.fromEntries(columns.map((column) => [column.name, column.categories?.[0] ?? 0]));
});

after(async () => {
  await app.close();
  await owner.close();
  await house.close();
});

async function addKey(label: string, roles: Role[], days = 30): Promise<string> {
  const made = await owner.inject({ method: 'POST', url: '/v1/access', payload: { label, roles, days } });
  assert.equal(made.statusCode, 201, made.body);
  return made.json<{ key: string }>().key;
}

function send(options: InjectOptions, key: string | undefined) {
  return app.inject({
    ...options,
    headers: {
      host: HOST,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...options.headers,
    },
  });
}

const json = { 'content-type': 'application/json' };
const infer = (rows: number, data: unknown[], width = house.schema.schema.columns.length) => ({
  inputs: [{ name: 'features', datatype: 'FP32', shape: [rows, width], data }],
});

interface Row {
  readonly what: string;
  readonly request: () => InjectOptions;
  readonly key?: () => string | undefined;
  readonly status: number;
  readonly code: string;
  readonly says: RegExp;
}

const post = (url: string, payload: unknown, headers = json): InjectOptions => ({
  method: 'POST',
  url,
  headers,
  payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
});
const status: InjectOptions = { method: 'GET', url: '/v1/status' };

const ROWS: readonly Row[] = [
  {
    what: 'a body that is not JSON',
    request: () => post('/v1/events', '[{"sourceKind":'),
    status: 400,
    code: 'server.body-malformed',
    says: /not JSON/,
  },
  {
    what: 'a line that is not JSON',
    request: () =>
      post('/v1/events', `${JSON.stringify(sentFlow())}\n{`, { 'content-type': 'application/x-ndjson' }),
    status: 400,
    code: 'server.body-malformed',
    says: /line 2/,
  },
  {
    what: 'no body at all',
    request: () => ({ method: 'POST', url: '/v1/score/flow', headers: json }),
    status: 400,
    code: 'server.body-malformed',
    says: /got none/,
  },
  {
    what: 'a body with __proto__',
    request: () => post('/v1/score/flow', '{"events":[],"__proto__":{"polluted":true}}'),
    status: 400,
    code: 'server.body-malformed',
    says: /forbidden key|not JSON/,
  },
  {
    what: 'an oversized body',
    request: () => post('/v1/score/flow', `{"events":["${'x'.repeat(SERVER_LIMITS.bodyBytes)}"]}`),
    status: 413,
    code: 'server.body-too-large',
    says: /longer/,
  },
  {
    what: 'NaN as a bare word',
    request: () => post('/v1/score/flow', '{"events":[{"duration":NaN}]}'),
    status: 400,
    code: 'server.body-malformed',
    says: /not JSON/,
  },
  {
    what: 'NaN as a text',
    request: () => post('/v1/score/flow', { events: [{ ...event, duration: 'NaN' }] }),
    status: 422,
    code: 'features.wrong-type',
    says: /duration: must be a number/,
  },
  {
    what: 'infinity among named features',
    request: () =>
      post('/v1/score/flow', JSON.stringify({ events: [{ ...event, duration: 7 }] }).replace(':7', ':1e999')),
    status: 422,
    code: 'features.not-finite',
    says: /duration/,
  },
  {
    what: 'infinity in a tensor',
    request: () => {
      const data = new Array<number>(house.schema.schema.columns.length).fill(0);
      const body = JSON.stringify(infer(1, [...data.slice(0, 3), 7, ...data.slice(4)]));
      return post('/v2/models/flow/infer', body.replace('0,7,0', '0,1e999,0'));
    },
    status: 422,
    code: 'features.not-finite',
    says: /duration/,
  },
  {
    what: 'a missing feature',
    request: () => {
      const { duration: _, ...rest } = event;
      return post('/v1/score/flow', { events: [rest] });
    },
    status: 422,
    code: 'features.missing-column',
    says: /duration/,
  },
  {
    what: 'an unknown feature',
    request: () => post('/v1/score/flow', { events: [{ ...event, shoe_size: 1 }] }),
    status: 422,
    code: 'features.unknown-column',
    says: /shoe_size/,
  },
  {
    what: 'an unknown category',
    request: () => post('/v1/score/flow', { events: [{ ...event, protocol: 'carrier-pigeon' }] }),
    status: 422,
    code: 'features.unknown-category',
    says: /protocol/,
  },
  {
    what: 'a tensor of another width',
    request: () => post('/v2/models/flow/infer', infer(1, [1, 2], 2)),
    status: 400,
    code: 'server.tensor-invalid',
    says: /expected the shape/,
  },
  {
    what: 'a tensor with less data than its shape',
    request: () => post('/v2/models/flow/infer', infer(2, [1, 2, 3])),
    status: 400,
    code: 'server.tensor-invalid',
    says: /values in data, got 3/,
  },
  {
    what: 'a flow without a field',
    request: () => post('/v1/events', [sentFlow(), sentFlow({ protocol: undefined })]),
    status: 400,
    code: 'server.request-invalid',
    says: /body\.1\.protocol/,
  },
  {
    what: 'a flow from no address',
    request: () => post('/v1/events', [sentFlow({ sourceAddress: '10.0.0.999' })]),
    status: 400,
    code: 'server.request-invalid',
    says: /sourceAddress: expected an IP address/,
  },
  {
    what: 'flows of two source kinds',
    request: () => post('/v1/events', [sentFlow(), sentFlow({ sourceKind: 'zeek' })]),
    status: 400,
    code: 'server.request-invalid',
    says: /one source kind/,
  },
  {
    what: 'a wrong key',
    request: () => status,
    key: () => `agk_0123456789abcdef_${'A'.repeat(43)}`,
    status: 401,
    code: 'server.key-wrong',
    says: /not one that was given out/,
  },
  {
    what: 'a key with one letter changed',
    request: () => status,
    key: () => `${keys.submitter?.slice(0, -1)}${keys.submitter?.endsWith('A') ? 'B' : 'A'}`,
    status: 401,
    code: 'server.key-wrong',
    says: /not one that was given out/,
  },
  {
    what: 'no key',
    request: () => status,
    key: () => undefined,
    status: 401,
    code: 'server.key-missing',
    says: /got none/,
  },
  {
    what: 'an empty key',
    request: () => status,
    key: () => '',
    status: 401,
    code: 'server.key-wrong',
    says: /not one that was given out/,
  },
  {
    what: 'an expired key',
    request: () => status,
    key: () => keys.expired,
    status: 401,
    code: 'server.key-expired',
    says: /has expired/,
  },
  {
    what: 'a revoked key',
    request: () => status,
    key: () => keys.revoked,
    status: 401,
    code: 'server.key-revoked',
    says: /was revoked/,
  },
  {
    what: 'a key without the role',
    request: () => post('/v1/models/flow/rollback', { alias: 'champion' }),
    status: 403,
    code: 'server.role-missing',
    says: /the role operator/,
  },
  {
    what: 'a foreign Host',
    request: () => ({ ...status, headers: { host: 'evil.example:8411' } }),
    status: 421,
    code: 'server.host-refused',
    says: /Host/,
  },
  {
    what: 'the right Host with another port',
    request: () => ({ ...status, headers: { host: 'guardian.test:80' } }),
    status: 421,
    code: 'server.host-refused',
    says: /Host/,
  },
  {
    what: 'a foreign Origin',
    request: () => ({ ...status, headers: { origin: 'https://evil.example' } }),
    status: 403,
    code: 'server.origin-refused',
    says: /Origin/,
  },
  {
    what: 'an opaque Origin',
    request: () => ({ ...status, headers: { origin: 'null' } }),
    status: 403,
    code: 'server.origin-refused',
    says: /Origin/,
  },
  {
    what: 'a wrong content type',
    request: () => post('/v1/score/flow', '{"events":[]}', { 'content-type': 'text/plain' }),
    status: 415,
    code: 'server.content-type',
    says: /application\/json/,
  },
  {
    what: 'lines where only JSON is taken',
    request: () => post('/v1/score/flow', '{"events":[]}', { 'content-type': 'application/x-ndjson' }),
    status: 415,
    code: 'server.content-type',
    says: /application\/json/,
  },
  {
    what: 'a compressed body',
    request: () => ({
      ...post('/v1/score/flow', '{"events":[]}'),
      headers: { ...json, 'content-encoding': 'gzip' },
    }),
    status: 415,
    code: 'server.content-type',
    says: /content encoding/,
  },
  {
    what: 'too many rows in a tensor',
    request: () => post('/v2/models/flow/infer', infer(SERVER_LIMITS.rows + 1, [])),
    status: 413,
    code: 'server.too-many-rows',
    says: /at most 10000 rows, got 10001/,
  },
  {
    what: 'too many flows',
    request: () =>
      post('/v1/events', '{}\n'.repeat(SERVER_LIMITS.rows + 1), { 'content-type': 'application/x-ndjson' }),
    status: 413,
    code: 'server.too-many-rows',
    says: /at most 10000 rows/,
  },
  {
    what: 'an unknown model to infer with',
    request: () => post('/v2/models/nobody/infer', infer(1, [])),
    status: 404,
    code: 'server.model-unknown',
    says: /nobody/,
  },
  {
    what: 'a version that is not loaded',
    request: () => ({ method: 'GET', url: '/v2/models/flow/versions/9.9.9' }),
    status: 404,
    code: 'server.model-unknown',
    says: /9\.9\.9/,
  },
  {
    what: 'an unknown model of the registry',
    request: () => ({ method: 'GET', url: '/v1/models/nobody/verify?version=1.0.0' }),
    status: 404,
    code: 'registry.version-unknown',
    says: /nobody/,
  },
  {
    what: 'a path traversal in a model name',
    request: () => ({ method: 'GET', url: '/v1/models/..%2f..%2fetc%2fpasswd/verify' }),
    status: 400,
    code: 'server.request-invalid',
    says: /path\.name/,
  },
  {
    what: 'a path traversal in a version',
    request: () => ({ method: 'GET', url: '/v1/models/flow/verify?version=..%2f1.0.0' }),
    status: 400,
    code: 'server.request-invalid',
    says: /query\.version/,
  },
  {
    what: 'a path that is no encoding',
    request: () => ({ method: 'GET', url: '/v2/models/%zz' }),
    status: 400,
    code: 'server.request-invalid',
    says: /path/,
  },
  {
    what: 'a null byte in a model name',
    request: () => ({ method: 'GET', url: '/v2/models/flow%00' }),
    status: 400,
    code: 'server.request-invalid',
    says: /path\.name/,
  },
  {
    what: 'a name that is too long',
    request: () => ({ method: 'GET', url: `/v2/models/${'a'.repeat(300)}` }),
    status: 400,
    code: 'server.request-invalid',
    says: /path/,
  },
  {
    what: 'an unknown query field',
    request: () => ({ method: 'GET', url: '/v1/detections?limt=3' }),
    status: 400,
    code: 'server.request-invalid',
    says: /limt/,
  },
  {
    what: 'a limit out of range',
    request: () => ({ method: 'GET', url: '/v1/detections?limit=1000000' }),
    status: 400,
    code: 'server.request-invalid',
    says: /query\.limit/,
  },
  {
    what: 'a detection nobody found',
    request: () => ({ method: 'GET', url: '/v1/detections/none' }),
    status: 404,
    code: 'server.detection-unknown',
    says: /uid/,
  },
  {
    what: 'a path that is not there',
    request: () => ({ method: 'GET', url: '/admin.php' }),
    status: 404,
    code: 'server.not-found',
    says: /no such path/,
  },
  {
    what: 'a method the path does not have',
    request: () => ({ method: 'DELETE', url: '/v1/status' }),
    status: 405,
    code: 'server.method-not-allowed',
    says: /GET/,
  },
];

suite('a bad request', () => {
  for (const { what, request, key, status: expected, code, says } of ROWS) {
    test(`with ${what} is refused with ${expected} ${code}, counted, and the server goes on`, async () => {
      const before = await refusals(code);
      const response = await send(request(), key === undefined ? keys.submitter : key());
      assert.equal(response.statusCode, expected, response.body);
      const body = response.json<Record<string, unknown>>();
      assert.deepEqual(Object.keys(body), ['error', 'code', 'category', 'retry']);
      assert.equal(body.code, code);
      assert.match(String(body.error), says);
      assert.equal(await refusals(code), before + 1);
      const next = await send(post('/v1/score/flow', { events: [event] }), keys.submitter);
      assert.equal(next.statusCode, 200, next.body);
    });
  }

  test('of a peer that sends nothing but bad keys is told to slow down, while good keys still work', async () => {
    const denied = mock.method(house.guardian, 'denied');
    house.clock.advance(SERVER_LIMITS.badKeyWindowMs);
    for (let i = 0; i < SERVER_LIMITS.badKeys; i++) {
      assert.equal((await send(status, 'agk_wrong')).statusCode, 401);
    }
    const refused = await send(status, 'agk_wrong');
    assert.equal(refused.statusCode, 429);
    assert.equal(refused.json<{ code: string }>().code, 'server.too-many-attempts');
    assert.equal(refused.headers['retry-after'], '60');
    assert.equal((await send(status, keys.submitter)).statusCode, 200);
    // Every refusal is told to the log, which collapses them.
    assert.equal(denied.mock.callCount(), SERVER_LIMITS.badKeys + 1);
    assert.equal(denied.mock.calls.at(-1)?.arguments[0].reason, 'server.too-many-attempts');
    assert.deepEqual(denied.mock.calls[0]?.arguments, [
      {
        principal: 'peer:127.0.0.1',
        reason: 'server.key-wrong',
        action: 'server.request',
        subject: 'GET /v1/status',
      },
    ]);
    house.clock.advance(SERVER_LIMITS.badKeyWindowMs);
    assert.equal((await send(status, 'agk_wrong')).statusCode, 401);
    denied.mock.restore();
  });

  test('never shows what the server is made of', async () => {
    mock.method(
      house.guardian.detections,
      'list',
      async () => {
        throw new TypeError('secret detail');
      },
      { times: 1 },
    );
    const response = await send({ method: 'GET', url: '/v1/detections' }, keys.submitter);
    assert.equal(response.statusCode, 500);
    assert.doesNotMatch(response.body, /secret/);
    assert.deepEqual(response.json(), {
      error: SERVER_ERRORS['server.internal'].says,
      code: 'server.internal',
      category: 'resource',
      retry: false,
    });
  });
});

/** The counter as /metrics tells it. */
async function refusals(code: string): Promise<number> {
  const { body } = await send({ method: 'GET', url: '/metrics' }, keys.viewer);
  const line = body.split('\n').find((each) => each.startsWith(`guardian_refusals_total{code="${code}"`));
  return Number(line?.split(' ').at(-1) ?? 0);
}
