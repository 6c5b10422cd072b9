import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ConnectionState, FlowRecord } from '../traffic/index.ts';
import { checkSchema } from './check-schema.ts';
import { checkBatch } from './feature-batch.ts';
import { FlowExtractor } from './flow-extractor.ts';
import { LAST_WINDOW_COLUMNS } from './last-window-columns.ts';
import { loadSchema } from './load-schema.ts';
import type { LoadedSchema } from './schema.ts';

const core = await loadSchema('flow-core');

/** flow-core with small windows, so that random flows run over every edge of them. */
function small(connections: number, historyFlows: number): LoadedSchema {
  const windows = { ...core.schema.windows, connections, historyFlows, intervals: 6 };
  return checkSchema({ ...core.schema, windows });
}

interface Shape {
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
  readonly startMs?: number;
  readonly endMs?: number;
  readonly state?: ConnectionState;
  readonly protocol?: number;
  readonly bytes?: number;
}

function flow(shape: Shape = {}): FlowRecord {
  const startMs = shape.startMs ?? 0;
  const bytes = shape.bytes ?? 100;
  return {
    sourceKind: 'packets',
    protocol: shape.protocol ?? 6,
    sourceAddress: shape.source ?? '10.0.0.1',
    destinationAddress: shape.destination ?? '10.0.0.2',
    sourcePort: 40_000,
    destinationPort: shape.port ?? 80,
    startMs,
    endMs: shape.endMs ?? startMs + 10,
    forward: { packets: 2, bytes, payloadBytes: 20, tcpFlags: 2 },
    backward: { packets: 1, bytes: 60, payloadBytes: 10, tcpFlags: 18 },
    state: shape.state ?? 'SF',
    endReason: 'tcp-end',
  };
}

/** The last flow's raw value (before log1p) of one column, rounded away from float32's tail. */
function lastOf(flows: readonly FlowRecord[], name: string, loaded = core): number {
  const batch = new FlowExtractor(loaded).extract(flows);
  const at = loaded.schema.columns.findIndex((column) => column.name === name);
  const value = batch.values[(batch.rows - 1) * batch.columns + at] ?? Number.NaN;
  const raw = loaded.schema.columns[at]?.transform === 'log1p' ? Math.expm1(value) : value;
  return Number(raw.toPrecision(5));
}

describe('the flow extractor', () => {
  test('knows neither where traffic happens nor when', () => {
    const flows = [0, 10, 25, 40, 70].map((startMs, i) => flow({ startMs, port: 80 + (i % 2) }));
    const moved = flows.map((one) => ({
      ...one,
      sourceAddress: '2001:db8::7',
      destinationAddress: '2001:db8::8',
      startMs: one.startMs + 1e12,
      endMs: one.endMs + 1e12,
    }));
    assert.deepEqual(new FlowExtractor(core).extract(moved), new FlowExtractor(core).extract(flows));
  });

  test('never holds more flows than the schema allows, however many keys come by', () => {
    const extractor = new FlowExtractor(small(100, 50));
    for (let i = 0; i < 1000; i++) extractor.extract([flow({ source: `10.1.${i >> 8}.${i & 255}` })]);
    assert.equal(extractor.counters.remembered, 50);
    assert.equal(extractor.counters.forgotten, 950);
  });

  test('refuses a broken flow, keeps its row, and remembers nothing of it', () => {
    const extractor = new FlowExtractor(core);
    const flows = [flow(), { ...flow(), startMs: Number.NaN }, { ...flow(), protocol: 300 }, flow()];
    const batch = extractor.extract(flows);
    assert.deepEqual(batch.rejected, [
      { row: 1, code: 'features.flow-malformed', column: '' },
      { row: 2, code: 'features.flow-malformed', column: '' },
    ]);
    assert.equal(batch.rows, 4);
    assert.ok(batch.values.subarray(batch.columns, 3 * batch.columns).every(Number.isNaN));
    assert.equal(extractor.counters.remembered, 2);
    assert.deepEqual(extractor.counters.rejects.byReason, { 'features.flow-malformed ': 2 });
  });

  test('refuses a flow of another source kind than its batch, and a kind the schema does not know', () => {
    const mixed = [flow(), { ...flow(), sourceKind: 'zeek' as const }, flow()];
    const batch = new FlowExtractor(core).extract(mixed);
    assert.deepEqual(batch.rejected, [{ row: 1, code: 'features.flow-malformed', column: '' }]);
    checkBatch(batch, core);
    const packetsOnly = checkSchema({ ...core.schema, sourceKinds: ['packets'] });
    assert.throws(() => new FlowExtractor(packetsOnly).extract([{ ...flow(), sourceKind: 'csv' }]), {
      code: 'features.batch-malformed',
    });
    assert.equal(new FlowExtractor(core).extract([]).rows, 0);
  });

  test('refuses schemas it cannot compute', async () => {
    const [first, ...rest] = core.schema.columns;
    const strange = checkSchema({ ...core.schema, columns: [{ ...first, name: 'toString' }, ...rest] });
    assert.throws(() => new FlowExtractor(strange), { code: 'features.schema-unsupported' });
    const other = checkSchema({ ...core.schema, columns: [{ ...first, categories: ['udp', 'tcp'] }] });
    assert.throws(() => new FlowExtractor(other), { code: 'features.schema-unsupported' });
    const table = await loadSchema('dga');
    assert.throws(() => new FlowExtractor(table), { code: 'features.schema-unsupported' });
  });

  test('flow-core holds every column of its windows, and keeps its digest', () => {
    const names = core.schema.columns.map((column) => column.name);
    assert.deepEqual(names.slice(-LAST_WINDOW_COLUMNS.length), [...LAST_WINDOW_COLUMNS]);
    assert.equal(core.id, 'sha256:4c43fcec203d4a4894bffaef4ae84c0f773111e54b9d0ac10f83633a2e7fded4');
  });
});

describe('what the windows show', () => {
  const many = (n: number, shape: (i: number) => Shape) =>
    Array.from({ length: n }, (_, i) => flow(shape(i)));

  test('a vertical scan touches many ports of one host, and nothing answers', () => {
    const scan = many(50, (i) => ({ port: 1000 + i, startMs: i * 20, state: 'REJ' }));
    assert.equal(lastOf(scan, 'pair_ports_long'), 50);
    assert.equal(lastOf(scan, 'pair_failed_share_last'), 1);
    assert.equal(lastOf(scan, 'src_same_service_share_last'), 0.02);
  });

  test('a sweep touches many hosts on one port', () => {
    const sweep = many(40, (i) => ({ destination: `10.2.0.${i}`, port: 445, startMs: i * 20, state: 'S0' }));
    assert.equal(lastOf(sweep, 'src_hosts_long'), 40);
    assert.equal(lastOf(sweep, 'src_same_service_hosts_last'), 40);
    assert.equal(lastOf(sweep, 'pair_ports_last'), 1);
  });

  test('a slow scan outlives the long window', () => {
    const scan = many(30, (i) => ({ port: 1000 + i, startMs: i * 45_000, state: 'S0' }));
    assert.equal(lastOf(scan, 'src_count_long'), 2);
    assert.equal(lastOf(scan, 'pair_ports_last'), 30);
    assert.equal(lastOf(scan, 'src_span_last'), 1305);
  });

  test('a flood from forged sources shows at its destination', () => {
    const flood = many(150, (i) => ({
      source: `198.51.100.${i}`,
      startMs: i * 5,
      endMs: i * 5,
      state: 'S0',
    }));
    assert.equal(lastOf(flood, 'dst_count_short'), 100);
    assert.equal(lastOf(flood, 'dst_sources_last'), 100);
    assert.equal(lastOf(flood, 'dst_failed_share_short'), 1);
    assert.equal(lastOf(flood, 'src_count_last'), 1);
  });

  test('slow requests are open at once', () => {
    const slow = many(20, (i) => ({ startMs: i * 100, endMs: 60_000 + i * 100 }));
    assert.equal(lastOf(slow, 'channel_open_last'), 20);
    assert.equal(lastOf(slow, 'dst_open_last'), 20);
  });

  test('a beacon is regular, browsing is not', () => {
    const beacon = many(20, (i) => ({ startMs: i * 10_000 }));
    assert.equal(lastOf(beacon, 'channel_interval_variation'), 0);
    assert.equal(lastOf(beacon, 'channel_interval_mean'), 10);
    assert.equal(lastOf(beacon, 'channel_bytes_variation'), 0);
    const browsing = many(20, (i) => ({ startMs: i * i * 500, bytes: 100 * (1 + (i % 7)) }));
    assert.ok(lastOf(browsing, 'channel_interval_variation') > 0.4);
    assert.ok(lastOf(browsing, 'channel_bytes_variation') > 0.2);
  });

  test('three connections have no regularity yet', () => {
    assert.ok(
      Number.isNaN(
        lastOf(
          many(3, (i) => ({ startMs: i * 1000 })),
          'channel_interval_mean',
        ),
      ),
    );
  });
});
