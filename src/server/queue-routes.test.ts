import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { BRISK, until } from '../../test/support/queue-house.ts';
import { openServedHouse, sentAttack, sentFlow } from '../../test/support/served-guardian.ts';
import { MemoryBus } from '../bus/index.ts';
import { EventWorker } from '../guardian/index.ts';
import { buildServer } from './build-server.ts';

async function open(t: TestContext, bus: MemoryBus | undefined) {
  const house = await openServedHouse({ config: { alerts: { minFlows: { 'port-scan': 1 } } } });
  if (bus !== undefined) await house.guardian.joinBus(async () => bus.connect());
  const app = await buildServer(house.guardian, { trust: 'local' });
  t.after(async () => {
    await app.close();
    await house.close();
  });
  const post = (payload: unknown, headers = {}) =>
    app.inject({
      ...{ method: 'POST', url: '/v1/events/queue?route=gate' },
      ...{ payload: JSON.stringify(payload), headers: { 'content-type': 'application/json', ...headers } },
    });
  const get = (id: string) => app.inject({ method: 'GET', url: `/v1/events/${id}` });
  return { ...house, post, get };
}

suite('the routes of queued events', () => {
  test('answer as the same flows sent for an answer at once', async (t) => {
    const bus = new MemoryBus();
    const { guardian, post, get } = await open(t, bus);
    const flows = [sentFlow(), sentAttack(), sentAttack({ destinationPort: 22 })];
    const headers = { 'idempotency-key': 'sensor-7:1' };
    const first = await post(flows, headers);
    const second = await post(flows, headers);
    assert.deepEqual([first.statusCode, first.json().state], [202, 'waiting']);
    assert.equal(second.json().id, first.json().id);
    const { engine } = guardian;
    const worker = new EventWorker({
      ...{ bus: bus.connect(), engine, schemaOf: (model) => guardian.schemaOf(model) },
      ...{ id: 'w1', options: BRISK },
    });
    worker.start();
    t.after(() => worker.close());
    await until(async () => (await get(first.json().id)).json().state === 'done');
    const done = (await get(first.json().id)).json();
    assert.deepEqual([done.flows, done.verdicts], [3, { attack: 2, benign: 1, abstain: 0 }]);
    const [detection] = await guardian.detections.list();
    assert.deepEqual(done.detections, [detection?.uid]);
    assert.equal(detection?.flows, 2);
    assert.equal((await post(flows, headers)).json().state, 'done');
  });

  test('refuse what is no event, no key, or has no bus or no room', async (t) => {
    const { post, get } = await open(t, new MemoryBus({ maxTopicBytes: 10 }));
    const full = await post([sentFlow()]);
    assert.deepEqual(
      [full.statusCode, full.json().code, full.headers['retry-after']],
      [503, 'guardian.queue-full', '5'],
    );
    assert.equal((await get('0'.repeat(32))).json().code, 'guardian.event-unknown');
    assert.equal((await get('nobody')).json().code, 'server.request-invalid');
    assert.equal((await post([sentFlow()], { 'idempotency-key': 'a b' })).statusCode, 400);
    const alone = await open(t, undefined);
    const refused = await alone.post([sentFlow()]);
    assert.deepEqual([refused.statusCode, refused.json().code], [409, 'guardian.no-bus']);
  });
});
