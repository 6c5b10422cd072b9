import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openServedHouse } from '../../test/support/served-guardian.ts';
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
