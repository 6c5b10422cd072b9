import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flowCandidate, openServedHouse } from '../../test/support/served-guardian.ts';
import { claimState } from '../storage/index.ts';

test('a guardian whose log cannot be written any more lets go of its state all the same', async (t) => {
  const house = await openServedHouse({ withModel: false });
  const { guardian } = house;
  t.mock.method(guardian.log, 'append', async () => {
    throw new Error('no space left');
  });
  guardian.denied({ principal: 'p', reason: 'r', action: 'a', subject: 's' });
  await assert.rejects(guardian.close(), /no space left/);
  const owner = await claimState(guardian.stateFolder);
  await owner.release();
  await assert.rejects(guardian.keys.list(), { code: 'crypto.store-closed' });
});

test('a promotion that the configuration would not let serve moves no alias', async () => {
  const house = await openServedHouse({ config: { model: { modelVersion: '1.0.0' } } });
  const { guardian, schema } = house;
  try {
    await guardian.registry.publish(flowCandidate(schema, 'flow', 1), { principal: 'tester' });
    await assert.rejects(guardian.promote('flow', '1.1.0', 'champion', { principal: 'tester' }), {
      code: 'inference.unexpected-model',
    });
    assert.equal((await guardian.registry.resolve('flow')).version, '1.0.0');
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
  } finally {
    await house.close();
  }
});
