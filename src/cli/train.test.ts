import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guardian, makeHome } from '../../test/support/cli.ts';
import { trainingThreads } from './training-progress.ts';

test('guardian train refuses a name before it reads any data', async () => {
  const home = await makeHome();
  for (const name of ['Bad_Name', 'a@1.0.0', '']) {
    const args = ['train', '/nowhere.csv', '--schema', 'nsl-kdd', '--name', name];
    const { exitCode, stderr } = await guardian(home, args);
    assert.equal(exitCode, 2);
    assert.match(stderr, /registry\.\S+-invalid/, stderr);
  }
  await home.remove();
});

test('a small table is trained by one thread, a large one by two at most', () => {
  assert.equal(trainingThreads({ rows: 125_973, columns: 41 }), 1);
  const large = trainingThreads({ rows: 1_000_000, columns: 40 });
  assert.ok(large === 1 || large === 2, String(large));
});
