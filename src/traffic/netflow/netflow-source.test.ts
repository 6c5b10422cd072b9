import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { templateSet, v5Message, v9Message } from '../../../test/support/netflow-messages.ts';
import { TrafficError } from '../errors.ts';
import type { FlowRecord } from '../flow.ts';
import { openFlowSource } from '../open-flow-source.ts';
import { parseCollectorAddress } from './collector-address.ts';
import { MessageQueue } from './message-queue.ts';
import { type CollectorOptions, openCollector } from './netflow-source.ts';
import { readSocketDrops } from './socket-drops.ts';

const RECORD = { from: '10.0.0.1', to: '10.0.0.2', sourcePort: 4000, destinationPort: 53, protocol: 17 };
const THERE = { ...RECORD, packets: 1, bytes: 60, first: 100, last: 100 };
const BACK = {
  ...THERE,
  from: RECORD.to,
  to: RECORD.from,
  sourcePort: 53,
  destinationPort: 4000,
  first: 120,
  last: 120,
};

/** Sends messages to a collector until `isDone` says that they were heard, then ends it; gives its flows. */
async function collect(
  address: string,
  messages: readonly Uint8Array[],
  options: Partial<CollectorOptions> = {},
) {
  const source = await openCollector(address, options);
  const sender = createSocket('udp4');
  const stop = new AbortController();
  const flows: FlowRecord[] = [];
  const reading = (async () => {
    for await (const batch of source.batches(stop.signal)) flows.push(...batch.records());
  })();
  for (const message of messages) {
    sender.send(message, source.port, '127.0.0.1');
  }
  const heard = () =>
    source.exporters().reduce((sum, each) => sum + each.messages, 0) +
    Object.values({ ...source.counters.ignored, ...source.counters.malformed }).reduce((a, b) => a + b, 0);
  while (heard() < messages.length) await new Promise((resolve) => setTimeout(resolve, 2));
  stop.abort();
  await reading;
  sender.close();
  return { source, flows };
}

test('collects over UDP, joins directions and reports its exporters', async () => {
  const { source, flows } = await collect('netflow://127.0.0.1:0', [
    v5Message([BACK, THERE]),
    v5Message([THERE], { sequence: 4 }),
    v9Message([templateSet(9, 256, [[1, 4]])], { domain: 9 }),
  ]);
  assert.deepEqual(
    flows.map((flow) => [flow.sourceAddress, flow.state, flow.sourceKind]),
    [
      ['10.0.0.1', 'SF', 'netflow'],
      ['10.0.0.1', 'S0', 'netflow'],
    ],
  );
  assert.deepEqual(source.counters.lost, { 'netflow-sequence': 2 });
  assert.deepEqual(
    source
      .exporters()
      .map(({ exporter, version, id, records, lost }) => [exporter, version, id, records, lost]),
    [
      ['127.0.0.1', 5, 0, 3, 2],
      ['127.0.0.1', 9, 9, 0, 0],
    ],
  );
});

test('hears nobody that is not allowed, and no other protocol', async () => {
  const foreign = await collect('netflow://127.0.0.1:0?allow=192.0.2.1', [v5Message([THERE])]);
  assert.deepEqual(foreign.source.counters.ignored, { 'netflow-foreign-exporter': 1 });
  const other = await collect('ipfix://127.0.0.1:0', [v5Message([THERE])]);
  assert.deepEqual([other.source.kind, other.source.counters.ignored], ['ipfix', { 'netflow-version-5': 1 }]);
  assert.deepEqual([...foreign.flows, ...other.flows], []);
});

test('bounds what waits for its consumer, in number and bytes', async () => {
  const queue = new MessageQueue(2, 100);
  const message = (length: number) => ({
    bytes: new Uint8Array(length),
    exporter: '',
    session: '',
    receivedMs: 0,
  });
  assert.deepEqual(
    [60, 60, 20, 1].map((length) => queue.push(message(length))),
    [true, false, true, false],
  );
  assert.equal((await queue.take(1000)).length, 2);
  assert.equal((await queue.take(1)).length, 0);
  const waiting = queue.take(60_000);
  assert.ok(queue.push(message(1)));
  assert.equal((await waiting).length, 1);
  queue.close();
  assert.ok(!queue.push(message(1)) && queue.isClosed);
  assert.deepEqual(await queue.take(60_000), []);
});

test('counts by name what the consumer is too slow for', async () => {
  const source = await openCollector('netflow://127.0.0.1:0', { maxQueuedMessages: 1 });
  const sender = createSocket('udp4');
  for (let i = 0; i < 5; i++) sender.send(v5Message([THERE], { sequence: i }), source.port, '127.0.0.1');
  while ((source.counters.lost['collector-queue'] ?? 0) < 4) await new Promise((done) => setTimeout(done, 2));
  const stop = new AbortController();
  stop.abort();
  const flows: FlowRecord[] = [];
  for await (const batch of source.batches(stop.signal)) flows.push(...batch.records());
  assert.equal(flows.length, 1, 'what was queued is read, also after the abort');
  sender.close();
});

test('tells what the system dropped, where it does', async () => {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 2048 });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  assert.equal(await readSocketDrops(socket.address()), 0);
  socket.close();
});

test('listens beyond loopback only for exporters that are named', async () => {
  const isInvalid = (error: unknown) =>
    error instanceof TrafficError && error.code === 'traffic.collector-address-invalid';
  const refused = [
    'netflow://0.0.0.0:2055',
    'netflow://[::]:2055',
    'netflow://192.0.2.1:2055',
    'netflow://localhost:2055',
    'netflow://127.0.0.1',
    'netflow://127.0.0.1:65536',
    'netflow://999.0.0.1:1',
    'ipfix://127.0.0.1:1?allow=x',
    'ipfix://127.0.0.1:1?buffer=-1',
    'ipfix://127.0.0.1:1?colour=1',
  ];
  for (const address of refused) await assert.rejects(openFlowSource(address), isInvalid, address);
  const { allow, receiveBuffer, host } = parseCollectorAddress(
    'ipfix://[::]:4739?allow=192.0.2.1,2001:DB8::1&buffer=65536',
  );
  assert.deepEqual([[...(allow ?? [])], receiveBuffer, host], [['192.0.2.1', '2001:db8::1'], 65_536, '::']);
  assert.equal(parseCollectorAddress('netflow://0.0.0.0:1?allow=any').allow, undefined);
  const taken = await openCollector('netflow://127.0.0.1:0');
  await assert.rejects(
    openFlowSource(`netflow://127.0.0.1:${taken.port}`),
    (error) => error instanceof TrafficError && error.code === 'traffic.collector-bind-failed',
  );
  await taken.batches(AbortSignal.abort()).next();
});
