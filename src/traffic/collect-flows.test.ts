import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ManualClock } from '../base/index.ts';
import { collectFlows } from './collect-flows.ts';
import { newCounters } from './counters.ts';
import type { FlowRecord, SourceKind } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import type { FlowSource } from './flow-source.ts';

function flowAt(startMs: number, sourceKind: SourceKind = 'packets'): FlowRecord {
  const direction = { packets: 1, bytes: 60, payloadBytes: 0, tcpFlags: 0 };
  return {
    ...{ sourceKind, protocol: 6, sourceAddress: '10.0.0.1', sourcePort: 1, destinationAddress: '10.0.0.2' },
    ...{ destinationPort: 80, startMs, endMs: startMs, forward: direction, backward: direction },
    ...{ state: 'SF', endReason: 'tcp-end' },
  };
}

/** A source that reuses its batch, as sources do, and fails at its end where it is told to. */
function sourceOf(kinds: readonly (readonly SourceKind[])[], failure?: Error) {
  const state = { handed: 0, isStopped: false };
  const source: FlowSource = {
    kind: 'packets',
    counters: newCounters(),
    async *batches(signal) {
      let at = 0;
      const batch = { current: new FlowBatch('packets', 100) };
      for (const list of kinds) {
        if (signal?.aborted === true) break;
        batch.current = FlowBatch.from(
          list.map((kind) => flowAt(at++, kind)),
          list[0] as SourceKind,
        );
        state.handed++;
        yield batch.current;
        batch.current.clear();
        batch.current.numbers.fill(-1);
      }
      state.isStopped = signal?.aborted === true;
      if (failure !== undefined) throw failure;
    },
  };
  return { source, state };
}

const packets = (...sizes: number[]) => sizes.map((n) => Array.from({ length: n }, () => 'packets' as const));
const options = (next: () => number) => ({
  next,
  clock: new ManualClock(0),
  signal: new AbortController().signal,
});

test('small batches that arrive during work are taken as one, in order and within the limit', async () => {
  const { source } = sourceOf(packets(1, 1, 1, 1, 1, 30, 2));
  const sizes: number[] = [];
  const order: number[] = [];
  for await (const batch of collectFlows(
    source,
    options(() => 8),
  )) {
    sizes.push(batch.rows);
    order.push(...batch.records().map(({ startMs }) => startMs));
    for (let i = 0; i < 50; i++) await setImmediate();
  }
  assert.deepEqual(
    order,
    Array.from({ length: 37 }, (_, i) => i),
  );
  assert.ok(Math.max(...sizes) === 8 && sizes.length < 8, sizes.join());
});

test('a source is held back while a full batch waits', async () => {
  const { source, state } = sourceOf(packets(...Array.from({ length: 100 }, () => 1)));
  const flows = collectFlows(
    source,
    options(() => 4),
  );
  await flows.next();
  for (let i = 0; i < 50; i++) await setImmediate();
  assert.ok(state.handed <= 6, `${state.handed} handed out`);
  await flows.return(undefined);
  assert.ok(state.isStopped && state.handed <= 7);
});

test('flows of two source kinds never share a batch', async () => {
  const { source } = sourceOf([['netflow'], ['netflow'], ['ipfix'], ['netflow']]);
  const kinds: string[] = [];
  for await (const batch of collectFlows(
    source,
    options(() => 100),
  )) {
    kinds.push(`${batch.rows} ${batch.sourceKind}`);
    for (let i = 0; i < 20; i++) await setImmediate();
  }
  assert.equal(kinds.join(), kinds.filter((kind) => /^\d netflow$|^1 ipfix$/.test(kind)).join());
  assert.ok(kinds.includes('1 ipfix'));
});

test('what arrived before a failure is handed out first', async () => {
  const { source } = sourceOf(packets(3, 3), new Error('unplugged'));
  let rows = 0;
  const read = async () => {
    for await (const batch of collectFlows(
      source,
      options(() => 2),
    ))
      rows += batch.rows;
  };
  await assert.rejects(read, /unplugged/);
  assert.equal(rows, 6);
});
