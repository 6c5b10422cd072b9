import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guardian, makeHome } from '../../test/support/cli.ts';

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
