import assert from 'node:assert/strict';
import { after, before, mock, suite, test } from 'node:test';
import { Script } from 'node:vm';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { FastifyInstance, InjectOptions } from 'fastify';
import {
  flowCandidate,
  openServedHouse,
  type ServedHouse,
  sentAttack,
  sentFlow,
} from '../../test/support/served-guardian.ts';
import { verifyProof } from '../audit/index.ts';
import { buildServer } from './build-server.ts';
import { openApiDocument } from './openapi.ts';
import { findRoute, methodsOf, ROUTE_KEYS, ROUTES, type RouteKey, splitKey } from './routes.ts';

let house: ServedHouse;
let app: FastifyInstance;
const seen = new Set<string>();

before(async () => {
  house = await openServedHouse();
  app = await buildServer(house.guardian, { trust: 'local' });
});

after(async () => {
  await app.close();
  await house.close();
});

/** Sends a request and holds its answer against what the OpenAPI document says of the route. */
async function send<T>(key: RouteKey, url: string, payload?: InjectOptions['payload']): Promise<T> {
  const { method, url: pattern } = splitKey(key);
  const response = await app.inject({ method, url, ...(payload === undefined ? {} : { payload }) });
  const spec = ROUTES[key];
  assert.equal(response.statusCode, 'status' in spec ? spec.status : 200, `${key}: ${response.body}`);
  const value = response.json<T>();
  const path = pattern.replaceAll(/:([a-z]+)/g, '{$1}');
  const operation = openApiDocument().paths[path]?.[method.toLowerCase()] as {
    responses: Record<string, { content: Record<string, { schema: object }> }>;
  };
  const schema = operation.responses[String(response.statusCode)]?.content['application/json']?.schema;
  const ajv = new Ajv2020({ strict: false });
  assert.ok(ajv.validate(schema ?? false, value), `${key}: ${ajv.errorsText()}`);
  seen.add(key);
  return value;
}

suite('the table of routes', () => {
  test('holds exactly what the server serves, each with a role', async () => {
    const served: string[] = [];
    for (const key of ROUTE_KEYS) {
      const { method, url } = splitKey(key);
      assert.ok(app.hasRoute({ method, url }), key);
      served.push(key);
    }
    const printed =
      app.printRoutes({ commonPrefix: false }).match(/\((?:GET|POST|DELETE|HEAD)(?:, \w+)*\)/g) ?? [];
    const methods = printed.flatMap((text) => text.slice(1, -1).split(', '));
    assert.equal(methods.length, served.length);
    assert.ok(ROUTE_KEYS.every((key) => ROUTES[key].role.length > 0));
  });

  test('is asked at every route that is added: what it does not hold cannot be served', async () => {
    const other = await buildServer(house.guardian, { trust: 'local' });
    assert.equal(findRoute('GET', '/backdoor'), undefined);
    assert.equal(findRoute('GET', 'constructor'), undefined);
    await other.close();
    const { default: fastify } = await import('fastify');
    const bare = fastify();
    const { refuseUndeclared } = await import('./build-server.ts');
    bare.addHook('onRoute', refuseUndeclared);
    assert.throws(() => bare.get('/backdoor', async () => 'in'), { code: 'server.route-undeclared' });
  });

  test('needs a key everywhere but for liveness and the page', () => {
    const open = ROUTE_KEYS.filter((key) => ROUTES[key].role === 'anyone');
    assert.deepEqual(open, ['GET /', 'GET /v2/health/live']);
  });

  test('lets nobody in without a key on TCP, route by route', async () => {
    const server = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: ['h:1'] });
    for (const key of ROUTE_KEYS) {
      house.clock.advance(60_000);
      const { method, url } = splitKey(key);
      const response = await server.inject({
        method,
        url: url.replaceAll(/:[a-z]+/g, 'x'),
        headers: { host: 'h:1' },
      });
      assert.equal(response.statusCode, ROUTES[key].role === 'anyone' ? 200 : 401, key);
    }
    house.clock.advance(60_000);
    assert.equal((await server.inject({ url: '/nowhere', headers: { host: 'h:1' } })).statusCode, 401);
    await server.close();
  });

  test('asks each role of each route', async () => {
    const server = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: ['h:1'] });
    const roles = ['viewer', 'submitter', 'approver', 'operator', 'auditor', 'admin'];
    for (const role of roles) {
      const { key } = await send<{ key: string }>('POST /v1/access', '/v1/access', {
        label: role,
        roles: [role],
        days: 1,
      });
      for (const route of ROUTE_KEYS.filter((each) => !each.endsWith('/stream'))) {
        const { method, url } = splitKey(route);
        const wanted = ROUTES[route].role;
        const response = await server.inject({
          method,
          url: url.replaceAll(/:[a-z]+/g, '~'),
          headers: { host: 'h:1', authorization: `bearer ${key}` },
        });
        const isLet = wanted === 'anyone' || wanted === 'viewer' || wanted === role;
        assert.equal(response.statusCode === 403, !isLet, `${role} ${route}: ${response.statusCode}`);
      }
    }
    await server.close();
  });

  test('tells which methods a path has', () => {
    assert.deepEqual(methodsOf('/v1/access/0123'), ['DELETE']);
    assert.deepEqual(methodsOf('/v1/audit/verify/'), ['GET', 'POST']);
    assert.deepEqual(methodsOf('/nowhere'), []);
  });
});

suite('the routes', () => {
  test('take flows in, and give detections out in four formats', async () => {
    const flows = [
      sentFlow(),
      ...Array.from({ length: 8 }, (_, i) => sentAttack({ destinationPort: i + 1 })),
    ];
    const result = await send<{
      flows: number;
      verdicts: Record<string, number>;
      detections: { uid: string; kind: string; source: { address: string } }[];
    }>('POST /v1/events', '/v1/events?route=test&model=flow', flows);
    assert.equal(result.flows, 9);
    assert.deepEqual(result.verdicts, { attack: 8, benign: 1, abstain: 0 });
    const [first] = result.detections;
    assert.equal(first?.kind, 'port-scan');
    const list = '/v1/detections';
    const { detections } = await send<{ detections: { uid: string }[] }>(
      'GET /v1/detections',
      `${list}?kind=port-scan&source=198.51.100.7&since=2026-01-01T00:00:00Z`,
    );
    assert.equal(detections[0]?.uid, first?.uid);
    assert.deepEqual(
      (await send<{ detections: unknown[] }>('GET /v1/detections', `${list}?source=::1`)).detections,
      [],
    );
    await send('GET /v1/detections/:uid', `${list}/${first?.uid}`);
    const host = await send<{ state: string; aggregate?: { flows: number; lastMs: number } }>(
      'GET /v1/hosts/:address',
      '/v1/hosts/198.51.100.7',
    );
    assert.equal(host.aggregate?.flows, 9);
    assert.equal(
      (await send<{ state: string }>('GET /v1/hosts/:address', '/v1/hosts/1.2.3')).state,
      'invalid',
    );
    assert.equal((await send<{ state: string }>('GET /v1/hosts/:address', '/v1/hosts/::9')).state, 'missing');
    for (const format of ['ocsf', 'eve']) {
      const found = await send<{ detections: object[] }>('GET /v1/detections', `${list}?format=${format}`);
      assert.equal(found.detections.length, 1);
    }
    const cef = await app.inject(`${list}?format=cef`);
    assert.match(cef.body, /^CEF:0\|/);
    const ended = await send<{ detections: { activity: string }[] }>(
      'POST /v1/events/end',
      '/v1/events/end?route=test',
    );
    assert.equal(ended.detections[0]?.activity, 'close');
  });

  test('take flows a line each and in an object, and load a model nobody has loaded yet', async () => {
    const fresh = await openServedHouse();
    const server = await buildServer(fresh.guardian, { trust: 'local' });
    await fresh.guardian.registry.publish(flowCandidate(fresh.schema, 'other'), { principal: 'tester' });
    const lines = `${JSON.stringify(sentFlow())}\n\n${JSON.stringify(sentAttack())}\n`;
    const sent = await server.inject({
      method: 'POST',
      url: '/v1/events?model=other@1.0.0',
      headers: { 'content-type': 'application/x-ndjson; charset=utf-8' },
      payload: lines,
    });
    assert.equal(sent.json<{ flows: number }>().flows, 2, sent.body);
    const again = await server.inject({
      method: 'POST',
      url: '/v1/events',
      payload: { flows: [sentFlow()] },
    });
    assert.equal(again.json<{ flows: number }>().flows, 1, again.body);
    await fresh.guardian.registry.publish(flowCandidate(fresh.schema, 'other', 1), { principal: 'tester' });
    const stale = await server.inject({ method: 'POST', url: '/v1/events?model=other@1.1.0', payload: [] });
    assert.equal(stale.json<{ code: string }>().code, 'server.model-unknown');
    await server.close();
    await fresh.close();
  });

  test('score named features', async () => {
    const { columns } = house.schema.schema;
    const event = Object.fromEntries(columns.map((column) => [column.name, column.categories?.[0] ?? 0]));
    const { scores } = await send<{ scores: { verdict: string }[] }>(
      'POST /v1/score/:name',
      '/v1/score/flow',
      {
        events: [event, { ...event, forward_packets: 1000 }],
      },
    );
    assert.deepEqual(
      scores.map(({ verdict }) => verdict),
      ['benign', 'attack'],
    );
    assert.equal(
      (await app.inject({ method: 'POST', url: '/v1/score/nobody', payload: { events: [] } })).statusCode,
      404,
    );
  });

  test('lead a model through its life', async () => {
    const { modelBytes, schemaBytes, ...rest } = flowCandidate(house.schema, 'flow', 0.5);
    const { version } = await send<{ version: string }>(
      'POST /v1/models/:name/versions',
      '/v1/models/flow/versions',
      {
        model: Buffer.from(modelBytes).toString('base64'),
        schema: Buffer.from(schemaBytes).toString('base64'),
        gateReport: rest.gateReport,
        provenance: rest.provenance,
      },
    );
    assert.equal(version, '1.1.0');
    const path = '/v1/models/flow';
    const promote = (at: string, alias: string) =>
      send<{ version: string; principal: string }>('POST /v1/models/:name/promote', `${path}/promote`, {
        version: at,
        alias,
      });
    await promote('1.1.0', 'challenger');
    const change = await promote('challenger', 'champion');
    assert.equal(change.version, '1.1.0');
    assert.match(change.principal, /^local:/);
    assert.equal(house.guardian.engine.current('flow')?.version, '1.1.0');
    const { models } = await send<{ models: { aliases: string[] }[] }>('GET /v1/models', '/v1/models');
    assert.deepEqual(
      models.map(({ aliases }) => aliases),
      [[], ['challenger', 'champion']],
    );
    const shown = await send<{ version: string }>('GET /v1/models/:name', path);
    assert.equal(shown.version, '1.1.0');
    const verified = await send<{ version: string; steps: string[] }>(
      'GET /v1/models/:name/verify',
      `${path}/verify?version=1.0.0`,
    );
    assert.equal(verified.version, '1.0.0');
    assert.ok(verified.steps.length > 3);
    const { files } = await send<{ files: Record<string, string> }>(
      'GET /v1/models/:name/versions/:version/export',
      `${path}/versions/champion/export`,
    );
    assert.deepEqual(Object.keys(files).sort(), [
      'gates.json',
      'manifest.json',
      'model.agm',
      'model.sig',
      'schema.json',
    ]);
    assert.deepEqual(Buffer.from(files['model.agm'] ?? '', 'base64'), Buffer.from(modelBytes));
    const signer = await house.guardian.keys.active('model-signing');
    const guest = await send<{ name: string; version: string }>(
      'POST /v1/models/import',
      '/v1/models/import',
      {
        name: 'guest',
        files,
        keys: [signer.publicKeyPem],
      },
    );
    assert.deepEqual([guest.name, guest.version], ['guest', '1.0.0']);
    await send('POST /v1/models/:name/rollback', `${path}/rollback`, {});
    assert.equal(house.guardian.engine.current('flow')?.version, '1.0.0');
    const { changes } = await send<{ changes: unknown[] }>('GET /v1/models/:name/history', `${path}/history`);
    assert.equal(changes.length, 4);
    const served = await send<{ change: { version: string }; proofs: { proof: string }[] }>(
      'GET /v1/models/:name/served',
      `${path}/served?at=${house.clock.now()}`,
    );
    assert.equal(served.change.version, '1.0.0');
    const { publicKeyPem = '' } = await house.guardian.keys.active('log-signing');
    assert.ok(served.proofs.every(({ proof }) => verifyProof(proof, [publicKeyPem])));
    const approval = await send<{ principal: string }>('POST /v1/models/:name/approve', `${path}/approve`, {
      version: '1.0.0',
    });
    assert.match(approval.principal, /^local:/);
    const { gateData } = await send<{ gateData: unknown }>(
      'GET /v1/models/:name/gate-data',
      `${path}/gate-data`,
    );
    assert.equal(gateData, null);
    const schema = Buffer.from(schemaBytes).toString('base64');
    const registered = { method: 'POST', url: `${path}/gate-data` } as const;
    const unfit = await app.inject({
      ...registered,
      payload: { path: '/nowhere', labels: '/nowhere', schema },
    });
    assert.equal(unfit.json<{ code: string }>().code, 'registry.gate-data-unfit', unfit.body);
    const relative = await app.inject({ ...registered, payload: { path: '../x', schema } });
    assert.equal(relative.statusCode, 400, relative.body);
    const failed = await app.inject({
      method: 'POST',
      url: `${path}/versions`,
      payload: { model: 'AAAA', schema: 'AAAA', gateReport: {}, provenance: rest.provenance },
    });
    assert.equal(failed.statusCode, 422, failed.body);
  });

  test('show the audit log, its checkpoint and proofs, and verify it', async () => {
    const { size, entries } = await send<{ size: number; entries: { index: number }[] }>(
      'GET /v1/audit',
      '/v1/audit?limit=3',
    );
    assert.deepEqual(
      entries.map(({ index }) => index),
      [size - 3, size - 2, size - 1],
    );
    const first = await send<{ entries: { index: number }[] }>('GET /v1/audit', '/v1/audit?from=0&limit=1');
    assert.deepEqual(
      first.entries.map(({ index }) => index),
      [0],
    );
    const { text } = await send<{ text: string }>('GET /v1/audit/checkpoint', '/v1/audit/checkpoint');
    const { proof } = await send<{ proof: string }>('GET /v1/audit/proof/:index', '/v1/audit/proof/2');
    const { keys } = await send<{ keys: { purpose: string; publicKeyPem?: string }[] }>(
      'GET /v1/keys',
      '/v1/keys',
    );
    const pem = keys.find(({ purpose }) => purpose === 'log-signing')?.publicKeyPem ?? '';
    assert.equal(verifyProof(proof, [pem]).index, 2);
    assert.ok(keys.every((key) => Object.keys(key).every((field) => !/private|secret/i.test(field))));
    await send('GET /v1/audit/verify', '/v1/audit/verify');
    const whole = await send<{ verified: boolean }>('POST /v1/audit/verify', '/v1/audit/verify', {
      checkpoint: text,
    });
    assert.equal(whole.verified, true);
    const forged = await app.inject({
      method: 'POST',
      url: '/v1/audit/verify',
      payload: { checkpoint: text.replace(/\n\d+\n/, '\n999\n') },
    });
    assert.equal(forged.json<{ code: string }>().code, 'audit.checkpoint-forged');
    assert.equal((await app.inject('/v1/audit/proof/99999')).statusCode, 404);
  });

  test('keep access: keys are shown once, listed without secret, revoked for good, and each step is logged', async () => {
    const made = await send<{ id: string; key: string }>('POST /v1/access', '/v1/access', {
      label: 'grafana',
      roles: ['viewer', 'viewer'],
      days: 1,
    });
    const { keys } = await send<{ keys: { id: string; roles: string[]; expiresAt: string }[] }>(
      'GET /v1/access',
      '/v1/access',
    );
    const kept = keys.find(({ id }) => id === made.id);
    assert.deepEqual(kept?.roles, ['viewer']);
    assert.equal(Date.parse(kept?.expiresAt ?? ''), house.clock.now() + 86_400_000);
    // The secret is the end of the key; base64url may hold underscores of its own.
    assert.ok(!JSON.stringify(keys).includes(made.key.slice(-43)));
    await send('DELETE /v1/access/:id', `/v1/access/${made.id}`);
    const gone = await app.inject({ method: 'DELETE', url: '/v1/access/0123456789abcdef' });
    assert.equal(gone.json<{ code: string }>().code, 'server.access-unknown');
    const { entries } = await send<{ entries: { entry: { action: string; kind: string } }[] }>(
      'GET /v1/audit',
      '/v1/audit?limit=4',
    );
    assert.deepEqual(
      entries.map(({ entry }) => `${entry.action} ${entry.kind}`),
      ['access.add intent', 'access.add outcome', 'access.revoke intent', 'access.revoke outcome'],
    );
    const local = await app.inject({
      method: 'POST',
      url: '/v1/access',
      payload: { label: 'local:0', roles: ['admin'] },
    });
    assert.equal(local.statusCode, 400);
  });

  test('tell status, configuration, metrics, and the document of themselves', async () => {
    const status = await send<{ models: { name: string }[]; reading: { rssBytes: number } }>(
      'GET /v1/status',
      '/v1/status',
    );
    assert.deepEqual(
      status.models.map(({ name }) => name),
      ['flow'],
    );
    assert.ok(status.reading.rssBytes > 0);
    const { origins } = await send<{ origins: Record<string, string> }>('GET /v1/config', '/v1/config');
    assert.deepEqual(origins, { 'server.port': 'default' });
    const metrics = await app.inject('/metrics');
    assert.match(metrics.headers['content-type'] as string, /^text\/plain/);
    assert.match(
      metrics.body,
      /^guardian_http_requests_total\{route="GET \/v1\/status",status="200"\} \d+$/m,
    );
    await send('GET /openapi.json', '/openapi.json');
    await send('GET /v2', '/v2');
    await send('GET /v2/models/:name', '/v2/models/flow');
  });

  test('show a page whose policy allows its own script alone', async () => {
    const page = await app.inject('/');
    assert.equal(page.statusCode, 200);
    const policy = page.headers['content-security-policy'] as string;
    const [, nonce] = /script-src 'nonce-([^']+)'/.exec(policy) ?? [];
    assert.match(policy, /default-src 'none'/);
    assert.ok(page.body.includes(`<script nonce="${nonce}">`));
    assert.doesNotMatch(page.body, /\{nonce\}|innerHTML|https?:\/\//);
    const [, script = ''] = /<script nonce="[^"]+">([\s\S]*)<\/script>/.exec(page.body) ?? [];
    assert.ok(new Script(script));
    const other = await app.inject('/');
    assert.notEqual(other.headers['content-security-policy'], policy);
  });

  test('tell a storage that does not answer as 503 with Retry-After', async () => {
    const { AlertsError } = await import('../alerts/index.ts');
    mock.method(
      house.guardian.detections,
      'list',
      async () => {
        throw new AlertsError('alerts.not-stored', 'the disk is full');
      },
      { times: 1 },
    );
    const response = await app.inject('/v1/detections');
    assert.equal(response.statusCode, 503);
    assert.equal(response.headers['retry-after'], '1');
  });
});

suite('the OpenAPI document', () => {
  test('describes every route once, with parameters for each part of its path', () => {
    const { paths, openapi } = openApiDocument();
    assert.equal(openapi, '3.1.0');
    const described = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => {
        const { parameters, responses, operationId } = operation as {
          parameters: { name: string; in: string; required: boolean; schema: object }[];
          responses: object;
          operationId: string;
        };
        const inPath = [...path.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => name);
        assert.deepEqual(
          parameters.filter((each) => each.in === 'path').map(({ name }) => name),
          inPath,
          path,
        );
        assert.ok(Object.keys(responses).length === 3 && /^[a-z0-9-]+$/.test(operationId));
        return `${method.toUpperCase()} ${path.replaceAll(/\{([a-z]+)\}/g, ':$1')}`;
      }),
    );
    assert.deepEqual(described.sort(), [...ROUTE_KEYS].sort());
  });

  test('holds schemas that are schemas', () => {
    const ajv = new Ajv2020({ strict: false });
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) {
        if (key === 'schema' && !JSON.stringify(inner).includes('#/components/')) {
          assert.equal(ajv.validateSchema(inner), true, JSON.stringify(inner));
        } else walk(inner);
      }
    };
    walk(openApiDocument().paths);
  });
});
