import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { armFaultPoints } from '../../src/base/index.ts';
import { FaultHouse } from '../support/fault-house.ts';
import { toolPath } from '../support/requires.ts';
import { makeSoftHsm, requireSoftHsm, type SoftHsm } from '../support/softhsm.ts';
import { SteadyLoad } from '../support/steady-load.ts';

let hsm: SoftHsm;

suite('a token that goes away under load', () => {
  before(async () => {
    if (toolPath('softhsm2-util') !== undefined) hsm = await makeSoftHsm();
  });
  after(() => {
    armFaultPoints(undefined);
    hsm?.remove();
  });

  const open = (store: string, t: Parameters<typeof FaultHouse.open>[0]) =>
    FaultHouse.open(t, {
      config: { keys: { uri: hsm.uri(store) }, audit: { checkpointDelayMs: 100, checkpointEntries: 64 } },
    });

  test('costs no answer; nothing is promoted, the way back is open, and the log is signed once it is back', async (t) => {
    if (!requireSoftHsm(t)) return;
    const house = await open('load', t);
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    await house.promote(version);
    const { version: third } = await house.publish(0.2);
    const load = new SteadyLoad(house);
    await load.some(2);
    hsm.pullOut();
    const before = guardian.log.size;
    const refused = await house.promoteOverHttp(third);
    assert.deepEqual([refused.status, refused.body.code, refused.retryAfter], [503, 'crypto.hsm-away', 1]);
    assert.equal((await guardian.registry.resolve('flow')).version, version);
    const back = await house.call('POST', '/v1/models/flow/rollback', { alias: 'champion' });
    assert.deepEqual([back.status, back.body.version], [200, '1.0.0']);
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    // By itself, as its timer has it.
    while (guardian.log.health.signing === null) await load.some(1);
    assert.deepEqual(await house.away(), ['checkpoints']);
    assert.equal(await house.metric('checkpoints_up'), 0);
    assert.ok((await house.metric('audit_unsigned_entries')) > 0);
    assert.equal(house.told.filter((code) => code === 'crypto.hsm-away').length, 1);
    const done = await house.entries(before);
    assert.ok(done.includes('model.promote failed crypto.hsm-away'));
    assert.ok(done.includes('model.rollback done'));
    assert.deepEqual(await guardian.log.openIntents(), []);

    hsm.plugIn();
    while (guardian.log.health.signing !== null) await load.some(1);
    assert.deepEqual(await house.away(), []);
    await house.promote(third);
    await load.some(2);
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    assert.equal(guardian.engine.current('flow')?.version, third);
    await load.assertKept();
  });

  test('in the middle of a promotion leaves what the alias names in place, and the log signs later', async (t) => {
    if (!requireSoftHsm(t)) return;
    const house = await open('middle', t);
    const { guardian } = house;
    for (const point of ['registry.alias.verified', 'registry.alias.moved']) {
      const { version } = await house.publish(0.1);
      armFaultPoints((name) => {
        if (name !== point) return;
        armFaultPoints(undefined);
        hsm.pullOut();
      });
      await house.promote(version);
      assert.equal((await guardian.registry.resolve('flow')).version, version, point);
      assert.equal(guardian.engine.current('flow')?.version, version, point);
      assert.equal((await house.event('198.18.0.1')).status, 200);
      hsm.plugIn();
      assert.equal((await guardian.log.checkpoint()).size, guardian.log.size);
    }
  });
});
