import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, u16, u32 } from '../../../test/support/packets.ts';
import { FlowInspector } from './flow-inspector.ts';

function dns(text: string, { flags = 0, answers = 0, ttl = 60, type = 1 } = {}): Uint8Array {
  const name = text.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const record = [0xc0, 12, ...u16(1), ...u16(1), ...u32(ttl), ...u16(0)];
  const head = [0, 1, ...u16(flags), ...u16(1), ...u16(answers), ...u32(0)];
  return concat(head, name, [0], u16(type), u16(1), ...Array.from({ length: answers }, () => record));
}

function tell(inspector: FlowInspector, flow: number, message: Uint8Array): void {
  inspector.dns(flow, message, 0, message.length);
}

test('sums up the DNS messages of a flow', () => {
  const inspector = new FlowInspector({});
  tell(inspector, 5, dns('a.example', { type: 28 }));
  tell(inspector, 5, dns('a.example', { type: 28, flags: 0x8180, answers: 2, ttl: 30 }));
  tell(inspector, 5, dns('bb.sub.example'));
  tell(inspector, 5, dns('bb.sub.example', { flags: 0x8183 }));
  const taken = inspector.take(5);
  assert.deepEqual(taken?.names, { dns: ['a.example', 'bb.sub.example'] });
  const { dns_name_entropy_max: entropy, ...rest } = taken?.measures ?? {};
  assert.ok(entropy !== undefined && entropy > 2 && entropy < 4);
  assert.deepEqual(rest, {
    dns_queries: 2,
    dns_responses: 2,
    dns_failures: 1,
    dns_answers: 2,
    dns_query_type: 28,
    dns_ttl_min: 30,
    dns_name_length_max: 14,
    dns_labels_max: 3,
  });
  assert.equal(inspector.take(5), undefined);
  assert.equal(inspector.size, 0);
});

test('keeps four different names of a flow, and says nothing of flows it was not told of', () => {
  const inspector = new FlowInspector({});
  for (const name of ['a', 'b', 'a', 'c', 'd', 'e']) tell(inspector, 1, dns(name));
  assert.deepEqual(inspector.take(1)?.names?.dns, ['a', 'b', 'c', 'd']);
  assert.equal(inspector.take(2), undefined);
});

test('of what is no message gives zeros, no type and no time to live', () => {
  const inspector = new FlowInspector({});
  tell(inspector, 1, new Uint8Array(40).fill(255));
  assert.deepEqual(inspector.take(1), {
    measures: {
      dns_queries: 0,
      dns_responses: 0,
      dns_failures: 0,
      dns_answers: 0,
      dns_name_length_max: 0,
      dns_labels_max: 0,
      dns_name_entropy_max: 0,
    },
    names: undefined,
  });
});

test('drops the text of flows beyond the limit, counts each once and keeps its measures', () => {
  const limits: Record<string, number> = {};
  const inspector = new FlowInspector(limits, { maxNamedFlows: 2 });
  for (const flow of [1, 2, 3, 3]) tell(inspector, flow, dns(`n${flow}`));
  assert.deepEqual(limits, { names: 1 });
  const dropped = inspector.take(3);
  assert.deepEqual([dropped?.names, dropped?.measures.dns_queries], [undefined, 2]);
  inspector.take(1);
  tell(inspector, 4, dns('n4'));
  assert.deepEqual(inspector.take(4)?.names, { dns: ['n4'] });
});
