import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { RequestWaves } from './request-waves.ts';

suite('waves of requests', () => {
  test('are drained when those that ran have ended, and not held up by later ones', async () => {
    const waves = new RequestWaves();
    const told: string[] = [];
    const first = waves.enter();
    void waves.drained().then(() => told.push('first'));
    const second = waves.enter();
    void waves.drained().then(() => told.push('second'));
    const third = waves.enter();
    waves.leave(second);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(told, []);
    waves.leave(first);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(told, ['first', 'second']);
    waves.leave(third);
    await waves.drained();
  });

  test('are drained at once where nothing runs', async () => {
    await new RequestWaves().drained();
  });
});
