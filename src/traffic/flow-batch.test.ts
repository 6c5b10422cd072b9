import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRecord } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';

const flow: FlowRecord = {
  sourceKind: 'packets',
  protocol: 6,
  sourceAddress: '2001:db8::1',
  destinationAddress: '2001:db8::2',
  sourcePort: 65_535,
  destinationPort: 443,
  startMs: 1_700_000_000_000.25,
  endMs: 1_700_000_001_000.5,
  forward: { packets: 3, bytes: 300, payloadBytes: 120, tcpFlags: 0x1b },
  backward: { packets: 2, bytes: 5_000_000_000, payloadBytes: Number.NaN, tcpFlags: 0x12 },
  state: 'SF',
  endReason: 'tcp-end',
  handshakeSeen: true,
  measures: { forward_length_min: 40, idle_count: 0, first_length_1: -1500 },
  tunnel: { kind: 'vxlan', id: 0xff_ffff },
  names: { sni: 'example.org' },
};

test('a batch gives back the records it was made of', () => {
  const bare: FlowRecord = {
    sourceKind: 'packets',
    protocol: 17,
    sourceAddress: '255.0.0.1',
    destinationAddress: '10.0.0.2',
    sourcePort: 53,
    destinationPort: 40_000,
    startMs: 1,
    endMs: 2,
    forward: { packets: 1, bytes: 60, payloadBytes: 32, tcpFlags: 0 },
    backward: { packets: 0, bytes: 0, payloadBytes: 0, tcpFlags: 0 },
    state: 'S0',
    endReason: 'evicted',
  };
  const batch = FlowBatch.from([flow, bare, { ...flow, handshakeSeen: false }], 'packets');
  assert.deepEqual(batch.records(), [flow, bare, { ...flow, handshakeSeen: false }]);
  assert.equal(batch.column('backward_bytes')[0], 5_000_000_000);
});

test('a cleared batch keeps nothing of the flows before', () => {
  const batch = new FlowBatch('packets', 2);
  batch.append(flow);
  batch.clear();
  const { names: _, measures: __, tunnel: ___, ...plain } = flow;
  batch.append(plain);
  assert.deepEqual(batch.records(), [plain]);
});
