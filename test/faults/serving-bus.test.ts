import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Logger } from '../../src/base/index.ts';
import { connectNats } from '../../src/bus/index.ts';
import { AliasWatch } from '../../src/guardian/alias-watch.ts';
import { FaultHouse } from '../support/fault-house.ts';
import { startNats } from '../support/nats.ts';
import { requireTool } from '../support/requires.ts';
import { SteadyLoad } from '../support/steady-load.ts';

suite('a bus that goes away under load', () => {
  test('costs no answer and no promotion, and nobody waits for it', async (t) => {
    if (!requireTool(t, 'nats-server')) return;
    const nats = await startNats();
    t.after(() => nats.close());
    const house = await FaultHouse.open(t, { config: { bus: { url: nats.server } } });
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    const load = new SteadyLoad(house);
    await load.some(2);
    await nats.kill();
    const asked = performance.now();
    assert.equal((await house.promoteOverHttp(version)).status, 200);
    t.diagnostic(`promoted without the bus in ${Math.round(performance.now() - asked)} ms`);
    assert.equal(guardian.engine.current('flow')?.version, version);
    await load.some(5);
    await nats.restart();
    const back = await house.call('POST', '/v1/models/flow/rollback', { alias: 'champion' });
    assert.equal(back.status, 200);
    await load.some(2);
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    await load.assertKept();
  });

  test('is listened to again once it is back, without a look in between', async (t) => {
    if (!requireTool(t, 'nats-server')) return;
    const nats = await startNats();
    t.after(() => nats.close());
    let looked = Promise.withResolvers<string>();
    const logger = { error: () => {} } as unknown as Logger;
    const watch = new AliasWatch({
      followed: () => ['flow'],
      follow: async (name) => looked.resolve(name),
      logger,
      everyMs: null,
    });
    t.after(() => watch.close());
    await watch.join(() => connectNats({ server: nats.server }));
    const hint = async () => {
      const other = await connectNats({ server: nats.server });
      await other.put('aliases.flow.champion', Buffer.from('{}'));
      await other.close();
    };
    await hint();
    await looked.promise;
    await nats.kill();
    await nats.restart();
    looked = Promise.withResolvers<string>();
    await hint();
    assert.equal(await looked.promise, 'flow');
  });
});
