import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Bus } from './bus.ts';
import { claimLease } from './lease.ts';
import { MemoryBus } from './memory-bus.ts';

test('a lease counts from when it was asked for: one whose answer came late is over', async () => {
  const bus = new MemoryBus();
  let puts = 0;
  const slow: Pick<Bus, 'get' | 'put'> = {
    get: (key) => bus.get(key),
    put: async (...given) => {
      puts++;
      const revision = await bus.put(...given);
      await wait(80);
      return revision;
    },
  };
  const lease = await claimLease(slow as Bus, 'lease', { holder: 'w1', ttlMs: 90 });
  assert.ok(lease !== undefined);
  if (!lease.lost.aborted) {
    await new Promise((resolve) => lease.lost.addEventListener('abort', resolve, { once: true }));
  }
  assert.equal(puts, 1);
  await lease.release();
  await bus.close();
});
