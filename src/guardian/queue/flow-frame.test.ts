import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { randomFlow } from '../../../test/support/random-flows.ts';
import { FlowBatch } from '../../traffic/index.ts';
import { QueueError } from './errors.ts';
import { isEventId, newEventId } from './event-id.ts';
import { decodeFrame, encodeFrame } from './flow-frame.ts';
import { decodeEvent, encodeEvent, partitionOf } from './messages.ts';

const names = { dns: ['a.example'], sni: 'b.example', ja4: 't13d' };

suite('a frame of flows', () => {
  test('gives back what was put in', () => {
    fc.assert(
      fc.property(fc.array(randomFlow(1_000), { maxLength: 20 }), fc.jsonValue(), (flows, said) => {
        const batch = FlowBatch.from(
          flows.map((flow, i) => (i % 3 === 0 ? { ...flow, names } : flow)),
          'packets',
        );
        const { says, flows: read } = decodeFrame(encodeFrame({ said }, batch));
        assert.deepEqual(says, JSON.parse(JSON.stringify({ said })));
        assert.deepEqual(read.records(), batch.records());
      }),
      { seed: 7, numRuns: 60 },
    );
  });

  test('is packed where it is large, and the same behind it', () => {
    const [flow] = fc.sample(randomFlow(1_000), { seed: 3, numRuns: 1 });
    const batch = FlowBatch.from(new Array(4_000).fill(flow), 'packets');
    const frame = encodeFrame({}, batch);
    assert.ok(frame.length < 100_000, `${frame.length} bytes`);
    assert.deepEqual(decodeFrame(frame).flows.record(3_999), batch.record(3_999));
  });

  test('is refused where it is cut off or changed, and never read as another thing', () => {
    const [flow] = fc.sample(randomFlow(1_000), { seed: 4, numRuns: 1 });
    const frame = encodeEvent({
      ...{ id: newEventId(), stream: 'gate', model: 'flow' },
      flows: FlowBatch.from(flow === undefined ? [] : [flow, flow], 'packets'),
    });
    for (let length = 0; length < frame.length; length++) {
      assert.throws(() => decodeEvent(frame.subarray(0, length)), { code: 'guardian.message-malformed' });
    }
    for (let at = 0; at < frame.length; at++) {
      const changed = Uint8Array.from(frame);
      changed[at] = (changed[at] as number) ^ 0xff;
      try {
        decodeEvent(changed).flows.records();
      } catch (error) {
        assert.ok(error instanceof QueueError, String(error));
      }
    }
  });
});

suite('ids and partitions of events', () => {
  test('an id follows from caller and key, and a mistyped one is known', () => {
    const given = { principal: 'ada', key: 'k1' };
    assert.equal(newEventId(given), newEventId(given));
    assert.notEqual(newEventId(given), newEventId({ ...given, principal: 'bob' }));
    assert.notEqual(newEventId(), newEventId());
    const id = newEventId();
    assert.ok(isEventId(id));
    for (let at = 0; at < id.length; at++) {
      const other = id[at] === '0' ? '1' : '0';
      assert.ok(!isEventId(id.slice(0, at) + other + id.slice(at + 1)));
    }
  });

  test('streams spread over the partitions', () => {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 1_600; i++) {
      const partition = partitionOf(`sensor-${i}`, 16);
      counts[partition] = (counts[partition] ?? 0) + 1;
    }
    assert.ok(Math.min(...counts) > 60 && Math.max(...counts) < 140, counts.join());
  });
});
