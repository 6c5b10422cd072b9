import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom, silentLogger } from '../../base/index.ts';
import { FlowBatch, type FlowRecord } from '../../traffic/index.ts';
import { CpuBackend } from '../backend/cpu-backend.ts';
import { type HostAggregate, HostAggregates } from './host-aggregates.ts';

const START = Date.UTC(2026, 0, 1);

function flowOf(sourceAddress: string, startMs: number, endMs: number, bytes = 100): FlowRecord {
  const direction = { packets: 2, bytes, payloadBytes: 20, tcpFlags: 0 };
  return {
    ...{ sourceKind: 'packets', protocol: 6, sourceAddress, sourcePort: 1_000, destinationPort: 80 },
    destinationAddress: sourceAddress.includes(':') ? '2001:db8::1' : '192.0.2.1',
    ...{ startMs, endMs, forward: direction, backward: direction, state: 'SF', endReason: 'tcp-end' },
  };
}

function newHosts(ttlMs = 1_000): HostAggregates {
  return new HostAggregates({
    backend: () => new CpuBackend(),
    ttlMs,
    budgetBytes: 1_000_000,
    logger: silentLogger,
  });
}

test('what a host did is the same however its flows are cut into batches', async () => {
  const random = new SeededRandom(4);
  const addresses = ['10.0.0.1', '10.0.0.2', '2001:db8::a', '2001:db8::b'];
  const flows = Array.from({ length: 500 }, (_, i) => {
    const at = START + i * 10;
    return flowOf(random.pick(addresses), at - random.integer(0, 500), at, random.integer(40, 1_500));
  });
  const whole = newHosts();
  await whole.add(FlowBatch.from(flows, 'packets'));
  const cut = newHosts();
  for (let i = 0; i < flows.length; ) {
    const size = random.integer(1, 40);
    await cut.add(FlowBatch.from(flows.slice(i, i + size), 'packets'));
    i += size;
  }
  for (const address of addresses) {
    const own = flows.filter(({ sourceAddress }) => sourceAddress === address);
    const expected: HostAggregate = {
      flows: own.length,
      packets: own.length * 4,
      bytesOut: own.reduce((sum, { forward }) => sum + forward.bytes, 0),
      bytesIn: own.reduce((sum, { backward }) => sum + backward.bytes, 0),
      longestMs: Math.max(...own.map(({ startMs, endMs }) => endMs - startMs)),
      firstMs: Math.min(...own.map(({ startMs }) => startMs)),
      lastMs: Math.max(...own.map(({ endMs }) => endMs)),
    };
    for (const hosts of [whole, cut]) {
      assert.deepEqual(hosts.read(address, expected.lastMs), { state: 'present', aggregate: expected });
    }
  }
});

test('a host that was silent too long begins anew, and is stale until then', async () => {
  const hosts = newHosts();
  await hosts.add(FlowBatch.from([flowOf('10.0.0.1', START, START + 10)], 'packets'));
  assert.equal(hosts.read('10.0.0.1', START + 1_011).state, 'stale');
  await hosts.add(FlowBatch.from([flowOf('10.0.0.1', START + 5_000, START + 5_010)], 'packets'));
  assert.equal(hosts.read('10.0.0.1', START + 5_010).aggregate?.flows, 1);
  assert.equal(hosts.read('10.0.0.9', START).state, 'missing');
});

test('a flow that ends before what is known counts, and moves no time back', async () => {
  const hosts = newHosts();
  await hosts.add(FlowBatch.from([flowOf('10.0.0.1', START, START + 100)], 'packets'));
  await hosts.add(FlowBatch.from([flowOf('10.0.0.1', START + 20, START + 50)], 'packets'));
  const { aggregate } = hosts.read('10.0.0.1', START + 100);
  assert.deepEqual([aggregate?.flows, aggregate?.firstMs, aggregate?.lastMs], [2, START, START + 100]);
});

test('counts that a source does not report add nothing', async () => {
  const hosts = newHosts();
  const flow = flowOf('10.0.0.1', START, START);
  const silent = { ...flow, backward: { ...flow.backward, packets: Number.NaN, bytes: Number.NaN } };
  await hosts.add(FlowBatch.from([flow, silent], 'packets'));
  const { aggregate } = hosts.read('10.0.0.1', START);
  assert.deepEqual(
    [aggregate?.flows, aggregate?.packets, aggregate?.bytesIn, aggregate?.bytesOut],
    [2, 4, 100, 200],
  );
});
