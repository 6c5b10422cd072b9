import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ManualClock } from './clock.ts';
import { silentLogger } from './logger.ts';
import { Metrics } from './metrics.ts';
import { OtlpExporter, otlpConfigSchema } from './otlp-exporter.ts';

interface Received {
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

/** A receiver that answers as it is told. */
async function receive(answer: () => { readonly status: number; readonly body: object }) {
  const requests: Received[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on('end', () => {
      requests.push({ url: request.url, headers: request.headers, body: JSON.parse(text) });
      const { status, body } = answer();
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { requests, close, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/metrics` };
}

suite('the export of metrics', () => {
  test('sends counters, gauges and histograms in the JSON of OTLP', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'guardian-otlp-'));
    const receiver = await receive(() => ({ status: 200, body: { partialSuccess: {} } }));
    t.after(() => {
      receiver.close();
      rmSync(folder, { recursive: true });
    });
    const headersFile = join(folder, 'headers');
    writeFileSync(headersFile, 'Authorization: Bearer a:b\nX-Scope: site\n\n');
    const metrics = new Metrics();
    metrics.counter('refused_total', 'Refused.', ['code']).add({ code: 'server.x' }, 3);
    metrics.gauge('state_bytes', 'Held.', () => 7);
    metrics.gauge('no_reading', 'Not there.', () => Number.NaN);
    const waits = metrics.histogram('wait_seconds', 'Waited.', ['route'], [0.1, 1]);
    for (const value of [0.05, 0.5, 0.6, 3]) waits.observe({ route: 'a' }, value);
    metrics.histogramOf('own_seconds', 'Kept elsewhere.', () => ({
      ...{ bounds: [1, 2], counts: [2, 5], count: 6, sum: 9 },
    }));
    const clock = new ManualClock(1_000);
    const config = { ...otlpConfigSchema.parse({ headersFile }), url: receiver.url };
    const exporter = new OtlpExporter({ config, metrics, clock, logger: silentLogger, version: '1.2.3' });
    clock.advance(500);
    await exporter.close();

    const [sent] = receiver.requests;
    assert.ok(sent);
    assert.equal(sent.url, '/v1/metrics');
    assert.equal(sent.headers['content-type'], 'application/json');
    assert.equal(sent.headers.authorization, 'Bearer a:b');
    assert.equal(sent.headers['x-scope'], 'site');
    const { resourceMetrics } = sent.body as {
      resourceMetrics: {
        resource: { attributes: { key: string; value: unknown }[] };
        scopeMetrics: { scope: unknown; metrics: { name: string }[] }[];
      }[];
    };
    assert.deepEqual(resourceMetrics[0]?.resource.attributes[0], {
      key: 'service.name',
      value: { stringValue: 'ai-guardian' },
    });
    const [scope] = resourceMetrics[0]?.scopeMetrics ?? [];
    assert.deepEqual(scope?.scope, { name: 'ai-guardian', version: '1.2.3' });
    const named = new Map(scope?.metrics.map((metric) => [metric.name, metric]));
    const times = { startTimeUnixNano: '1000000000', timeUnixNano: '1500000000' };
    assert.deepEqual(named.get('guardian_refused_total'), {
      ...{ name: 'guardian_refused_total', description: 'Refused.', unit: '1' },
      sum: {
        ...{ aggregationTemporality: 2, isMonotonic: true },
        dataPoints: [
          { attributes: [{ key: 'code', value: { stringValue: 'server.x' } }], asDouble: 3, ...times },
        ],
      },
    });
    assert.deepEqual(named.get('guardian_state_bytes'), {
      ...{ name: 'guardian_state_bytes', description: 'Held.', unit: 'By' },
      gauge: { dataPoints: [{ attributes: [], asDouble: 7, ...times }] },
    });
    assert.deepEqual((named.get('guardian_no_reading') as unknown as { gauge: object }).gauge, {
      dataPoints: [],
    });
    const pointOf = (name: string) =>
      (named.get(name) as unknown as { histogram: { dataPoints: object[] } }).histogram.dataPoints[0];
    assert.deepEqual(pointOf('guardian_wait_seconds'), {
      attributes: [{ key: 'route', value: { stringValue: 'a' } }],
      ...{ count: '4', sum: 4.15, explicitBounds: [0.1, 1], bucketCounts: ['1', '2', '1'] },
      ...times,
    });
    assert.deepEqual(pointOf('guardian_own_seconds'), {
      attributes: [],
      ...{ count: '6', sum: 9, explicitBounds: [1, 2], bucketCounts: ['2', '3', '1'] },
      ...times,
    });
  });

  test('counts what a receiver refuses or leaves out, and goes on', async (t) => {
    const answers = [
      { status: 503, body: {} },
      { status: 200, body: { partialSuccess: { rejectedDataPoints: '2' } } },
      { status: 200, body: {} },
    ];
    const receiver = await receive(() => answers[receiver.requests.length - 1] as (typeof answers)[number]);
    t.after(receiver.close);
    const metrics = new Metrics();
    const told: unknown[] = [];
    const logger = { ...silentLogger, warn: (fields: object) => void told.push(fields) };
    const config = { ...otlpConfigSchema.parse({}), url: receiver.url };
    const exporter = new OtlpExporter({ config, metrics, clock: new ManualClock(), logger, version: '1' });
    for (let i = 0; i < 2; i++) await exporter.flush();
    await exporter.close();
    assert.deepEqual(told, [{ code: 'base.export-failed' }, { code: 'base.export-failed' }]);
    assert.match(await metrics.text(), /guardian_otlp_failures 2/);
  });

  test('is off by default, and takes no address with credentials in it', () => {
    assert.equal(otlpConfigSchema.parse({}).url, null);
    for (const url of ['ftp://h/', 'nothing', 'http://user:secret@h/v1/metrics']) {
      assert.ok(!otlpConfigSchema.safeParse({ url }).success, url);
    }
  });
});
