import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Redaction } from './redact.ts';
import { bundleBytes, reportBundle } from './report-bundle.ts';

/** None of these may stand in a report. */
const CANARIES = [
  '192.0.2.77',
  '2001:db8::7',
  'fe80::1:2',
  '00:1b:44:11:3a:b7',
  'ada@example.org',
  '/home/ada/keys/unlock.key',
  'postgres://ada:hunter2@db.example.org/guardian',
  'nats://bus.example.org:4222',
  'agk_0123456789abcdef_Zm9vYmFyYmF6cXV4',
  'c2VjcmV0IGtleSBtYXRlcmlhbCBvZiAzMiBieXRlcyE1',
  'deadbeefdeadbeefdeadbeefdeadbeef01234567',
  '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----',
];

suite('a report', () => {
  test('holds no canary in any place, and the same mark for the same thing', () => {
    const redaction = new Redaction();
    for (const canary of CANARIES) {
      for (const text of [canary, `at ${canary}, twice`, `(${canary})`, `"${canary}"`]) {
        const redacted = redaction.text(text);
        assert.ok(!redacted.includes(canary), redacted);
        assert.ok(!/hunter2|ada|example|MC4C/.test(redacted), redacted);
      }
    }
    const told = JSON.stringify(redaction.value({ '192.0.2.77': CANARIES, deep: [{ a: CANARIES }] }));
    for (const canary of CANARIES) assert.ok(!told.includes(JSON.stringify(canary).slice(1, -1)), canary);
    assert.equal(redaction.text('192.0.2.77'), redaction.text('192.0.2.77'));
    assert.notEqual(redaction.text('192.0.2.77'), redaction.text('192.0.2.78'));
    assert.notEqual(redaction.text('192.0.2.77'), new Redaction().text('192.0.2.77'));
  });

  test('keeps what is no name: versions, codes, times, digests, numbers', () => {
    const redaction = new Redaction();
    const kept = {
      version: '26.10.0',
      code: 'server.request-invalid',
      at: '2026-11-23T12:00:00.000Z',
      digest: `sha256:${'ab'.repeat(32)}`,
      route: 'POST /v1/models/:name/promote',
      count: 7,
      none: null,
    };
    assert.deepEqual(redaction.value(kept), kept);
  });

  test('keeps of the configuration what the schema itself says', () => {
    const shape = {
      properties: {
        level: { enum: ['warn', 'debug'] },
        name: { default: 'flow' },
        other: { default: 'flow' },
        port: {},
        hosts: { items: {} },
        maybe: { anyOf: [{ const: 'auto' }, {}] },
      },
    };
    const told = new Redaction().configuration(
      { level: 'debug', name: 'flow', other: 'winter', port: 8411, hosts: ['h'], maybe: 'auto', odd: 'x' },
      shape,
    ) as Record<string, unknown>;
    assert.deepEqual([told.level, told.name, told.port, told.maybe], ['debug', 'flow', 8411, 'auto']);
    assert.match(String(told.other), /^\[text \w{10}\]$/);
    assert.doesNotMatch(JSON.stringify(told), /winter|"h"|odd/);
  });

  test('is made where a part of it cannot be had', async () => {
    const text = await reportBundle({
      ...{ madeAt: 'now', versions: { node: '26' }, configuration: {}, configurationShape: {} },
      asked: {
        status: async () => ({ well: true }),
        models: async () => await Promise.reject(Object.assign(new Error('no'), { code: 'ENOENT' })),
      },
    });
    const { status, models } = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual([status, models], [{ well: true }, { failed: 'ENOENT' }]);
    assert.equal(gunzipSync(await bundleBytes(text, 'a.json.gz')).toString(), text);
    assert.equal(Buffer.from(await bundleBytes(text, 'a.json')).toString(), text);
  });
});
