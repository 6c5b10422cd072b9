import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../base/index.ts';
import { SlicedRequest, type SlicedWork } from './sliced-request.ts';

test('a request without rows is done at once: no slice of it would ever come back', async () => {
  const work = { batch: { rows: 0 }, deadline: 1 } as unknown as SlicedWork;
  const request = new SlicedRequest(work, {
    dispatcher: { submit: () => assert.fail('there is nothing to score') },
    clock: new ManualClock(),
    ...{ sliceRows: 8, width: 1, onSlice: () => undefined },
  });
  const { state, scored } = await request.run();
  assert.deepEqual([state, scored], ['done', 0]);
});
