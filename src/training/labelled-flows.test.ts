import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowExtractor, loadSchema } from '../features/index.ts';
import { type DirectionCounts, FlowBatch, type FlowRecord } from '../traffic/index.ts';
import { labelFlows } from './labelled-flows.ts';

const COUNTS: DirectionCounts = { packets: 5, bytes: 400, payloadBytes: 200, tcpFlags: 0x1b };

function flow(port: number, startMs: number): FlowRecord {
  return {
    sourceKind: 'packets',
    protocol: 6,
    sourceAddress: '10.0.0.1',
    destinationAddress: '10.0.0.2',
    sourcePort: 40_000,
    destinationPort: port,
    startMs,
    endMs: startMs + 50,
    forward: COUNTS,
    backward: COUNTS,
    state: 'SF',
    endReason: 'tcp-end',
  };
}

test('flows become rows by the serving extractor, with their labels, kinds and times', async () => {
  const schema = await loadSchema('flow-core');
  const batches = [[flow(80, 1000), flow(22, 2000)], [], [flow(80, 3000), flow(23, 4000)]];
  const seen: number[] = [];
  const table = await labelFlows({
    batches: batches.map((flows) => FlowBatch.from(flows, 'packets')),
    schema,
    labelOf: ({ destinationPort }) =>
      destinationPort === 80 ? 'benign' : destinationPort === 22 ? 'password-guessing' : 'port-scan',
    digest: `sha256:${'1'.repeat(64)}`,
    onBatch: (flows) => seen.push(flows),
  });
  assert.equal(table.rows, 4);
  assert.deepEqual([...table.labels], [0, 1, 0, 1]);
  assert.deepEqual(table.typeNames, ['benign', 'password-guessing', 'port-scan']);
  assert.deepEqual([...table.typeIndex], [0, 1, 0, 2]);
  assert.deepEqual([...(table.times ?? [])], [1050, 2050, 3050, 4050]);
  assert.deepEqual(seen, [2, 2, 4]);
  assert.equal(table.digest, `sha256:${'1'.repeat(64)}`);
  const extractor = new FlowExtractor(schema);
  const expected = batches.flatMap((flows) => [...extractor.extract(flows).values]);
  assert.deepEqual([...table.values], expected);
});
