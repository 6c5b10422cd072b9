import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { NaiveExtractor } from '../../test/support/naive-extractor.ts';
import { randomFlow, randomKind } from '../../test/support/random-flows.ts';
import { FLOW_NUMBERS, FlowBatch, type FlowRecord, MEASURES, SOURCE_KINDS } from '../traffic/index.ts';
import { checkSchema } from './check-schema.ts';
import { checkBatch } from './feature-batch.ts';
import { FlowExtractor } from './flow-extractor.ts';
import { FLOW_VALUES } from './flow-values.ts';
import { loadSchema } from './load-schema.ts';
import type { FeatureColumn, LoadedSchema } from './schema.ts';
import { SLIDING_WINDOW_COLUMNS } from './sliding-windows.ts';

const flow = await loadSchema('flow');

/** The schema with its columns changed. */
function changed(change: (column: FeatureColumn) => Partial<FeatureColumn>): LoadedSchema {
  const columns = flow.schema.columns.map((column) => ({ ...column, ...change(column) }));
  return checkSchema({ ...flow.schema, columns });
}

function compare(flows: readonly FlowRecord[], schema: LoadedSchema): void {
  const twin = new NaiveExtractor(schema);
  const extractor = new FlowExtractor(schema);
  const batch = extractor.extract(flows);
  checkBatch(batch, schema);
  const rejected = new Map(batch.rejected.map((one) => [one.row, one]));
  for (const [row, record] of flows.entries()) {
    const expected = twin.extract(record);
    assert.equal(rejected.get(row)?.code, expected.code, `row ${row}`);
    assert.equal(rejected.get(row)?.column, expected.refused, `row ${row}`);
    for (const [c, { name }] of schema.schema.columns.entries()) {
      const [ours, theirs] = [batch.values[row * batch.columns + c] as number, expected.values[c] as number];
      // Sums and deviations of the windows are taken in another order.
      const isClose =
        SLIDING_WINDOW_COLUMNS.includes(name) && Math.abs(ours - theirs) <= 1e-5 * Math.abs(theirs) + 1e-5;
      assert.ok(Object.is(ours, theirs) || isClose, `row ${row} ${name}: ${ours}, not ${theirs}`);
    }
  }
  const { total } = extractor.counters.rejects;
  assert.equal(total, rejected.size);
}

/** A flow with every measure, as a packet meter or a generous exporter reports it. */
function fullFlow(sourceKind: FlowRecord['sourceKind'], i = 0): FlowRecord {
  return {
    sourceKind,
    protocol: 6,
    sourceAddress: `10.0.0.${1 + (i % 7)}`,
    destinationAddress: '10.0.1.1',
    sourcePort: 40_000 + i,
    destinationPort: [443, 80, 22][i % 3] ?? 0,
    startMs: 1_700_000_000_000 + 37 * i,
    endMs: 1_700_000_000_500 + 37 * i,
    forward: { packets: 4, bytes: 1000 + i, payloadBytes: 800, tcpFlags: 0x1b },
    backward: { packets: 3, bytes: 3000, payloadBytes: 2800, tcpFlags: 0x12 },
    state: 'SF',
    endReason: 'tcp-end',
    handshakeSeen: true,
    measures: Object.fromEntries(MEASURES.map((name, m) => [name, (m * 7 + i) % 50])),
  };
}

describe('the schema flow', () => {
  test('gives the vectors of its naive twin for any flows of any source, refusals included', () => {
    fc.assert(
      fc.property(
        randomKind.chain((kind) => fc.array(randomFlow(100_000, kind), { maxLength: 16 })),
        (flows) => compare(flows, flow),
      ),
      { numRuns: 300 },
    );
  });

  test('gives those of its twin under every policy of a column', () => {
    const policies = [
      changed(({ type }) => (type === 'number' ? { invalid: 'reject' } : {})),
      changed(() => ({ invalid: 'missing' })),
      changed(({ type }) => (type === 'number' ? { invalid: 'impute', missing: 'impute' } : {})),
      changed(({ name }) => (name === 'forward_bytes' ? { missing: 'refuse' } : {})),
      changed(({ name }) => (name === 'duration' ? { range: [5, 1000], transform: 'none' } : {})),
      changed(({ name }) => (name === 'first_length_1' ? { range: [-0.5, 10], transform: 'log1p' } : {})),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...policies),
        fc.array(randomFlow(100_000), { maxLength: 16 }),
        (schema, flows) => compare(flows, schema),
      ),
      { numRuns: 300 },
    );
  });

  test('gives the same vectors however the stream is cut, over a block and more', () => {
    const flows = fc.sample(randomFlow(60_000), { numRuns: 300, seed: 5 });
    const whole = new FlowExtractor(flow).extract(flows).values;
    for (const size of [1, 63, 64, 65, 200]) {
      const cut = new FlowExtractor(flow);
      const parts: number[] = [];
      for (let i = 0; i < flows.length; i += size)
        parts.push(...cut.extract(flows.slice(i, i + size)).values);
      assert.deepEqual(Float32Array.from(parts), whole, `parts of ${size}`);
    }
  });

  test('writes into memory of the caller what it gives as a batch, and counts what it refuses', () => {
    const flows = Array.from({ length: 70 }, (_, i) => fullFlow('packets', i));
    const batch = FlowBatch.from(flows, 'packets');
    batch.column('start_ms')[66] = Number.NaN;
    batch.column('forward_bytes')[3] = Number.POSITIVE_INFINITY;
    batch.column('backward_bytes')[5] = 1e18;
    const out = new Float32Array(71 * flow.schema.columns.length).fill(7);
    const extractor = new FlowExtractor(flow);
    assert.equal(extractor.extractInto(batch, out), 2);
    assert.deepEqual(
      out.subarray(0, -flow.schema.columns.length),
      new FlowExtractor(flow).extract(batch).values,
    );
    assert.ok(out.subarray(-flow.schema.columns.length).every((value) => value === 7));
    assert.deepEqual(extractor.counters.rejects.byReason, {
      'features.not-finite forward_bytes': 1,
      'features.flow-malformed ': 1,
    });
    assert.equal(extractor.counters.clipped.backward_bytes, 1);
    assert.throws(() => extractor.extractInto(batch, new Float32Array(9)), {
      code: 'features.batch-malformed',
    });
  });

  test('knows neither addresses, ports, query ids, times to live nor when traffic happened', () => {
    const flows = Array.from({ length: 50 }, (_, i) => fullFlow('packets', i));
    const moved = flows.map((one) => ({
      ...one,
      sourceAddress: `2001:db8::${one.sourceAddress.split('.')[3]}`,
      destinationAddress: '2001:db8:1::1',
      sourcePort: one.sourcePort + 1,
      // A whole number of long buckets later.
      startMs: one.startMs + 2500 * 8 * 1000,
      endMs: one.endMs + 2500 * 8 * 1000,
    }));
    assert.deepEqual(new FlowExtractor(flow).extract(moved), new FlowExtractor(flow).extract(flows));
    for (const { name } of flow.schema.columns) {
      assert.doesNotMatch(name, /address|_ip|ttl|start_ms|end_ms|_id$/);
    }
  });

  test('fills the same columns alike from packets and from exporters that carry them', () => {
    const vectorOf = (kind: FlowRecord['sourceKind']) =>
      new FlowExtractor(flow).extract([fullFlow(kind)]).values;
    const packets = vectorOf('packets');
    assert.ok(packets.every((value) => !Number.isNaN(value)) === false); // a lone flow has no intervals
    for (const kind of SOURCE_KINDS) {
      const values = vectorOf(kind);
      for (const [c, { name, absentIn = [] }] of flow.schema.columns.entries()) {
        const expected = absentIn.includes(kind) ? Number.NaN : packets[c];
        assert.ok(Object.is(values[c], expected), `${kind} ${name}: ${values[c]}, not ${expected}`);
      }
    }
    const absent = (kind: string) =>
      flow.schema.columns.filter(({ absentIn }) => absentIn?.includes(kind)).length;
    assert.deepEqual([absent('packets'), absent('csv')], [0, 0]);
  });

  test('computes only columns that something fills, and every window column', () => {
    const names = flow.schema.columns.map(({ name }) => name);
    for (const name of SLIDING_WINDOW_COLUMNS) assert.ok(names.includes(name), name);
    for (const name of names) assert.ok(FLOW_VALUES.has(name) || SLIDING_WINDOW_COLUMNS.includes(name), name);
    assert.equal(FLOW_NUMBERS.includes('payload_entropy'), true);
    assert.equal(names.includes('payload_entropy'), false); // only where asked, so no model may rest on it
  });

  test('allocates nothing a row', (t) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const batch = FlowBatch.from(
      Array.from({ length: 1024 }, (_, i) => fullFlow('packets', i)),
      'packets',
    );
    const extractor = new FlowExtractor(flow);
    const out = new Float32Array(1024 * flow.schema.columns.length);
    const starts = batch.column('start_ms');
    const ends = batch.column('end_ms');
    const run = (batches: number) => {
      for (let i = 0; i < batches; i++) {
        for (let row = 0; row < 1024; row++) {
          starts[row] = (starts[row] as number) + 1000;
          ends[row] = (ends[row] as number) + 1000;
        }
        extractor.extractInto(batch, out);
      }
    };
    run(300);
    // What the engine's own compiling takes falls into one round or another; what a row takes, into each.
    const rounds = Array.from({ length: 3 }, () => {
      collect();
      const before = process.memoryUsage();
      run(100);
      const after = process.memoryUsage();
      return {
        heap: after.heapUsed - before.heapUsed,
        outside: after.arrayBuffers - before.arrayBuffers,
      };
    });
    const least = Math.min(...rounds.map(({ heap }) => heap));
    t.diagnostic(`${least} bytes of heap over 102,400 rows`);
    // The smallest object takes 16 bytes; the measurement itself makes some.
    assert.ok(least < 8 * 102_400, `${least} bytes`);
    assert.equal(Math.min(...rounds.map(({ outside }) => Math.abs(outside))), 0);
  });
});
