import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, silentLogger } from '../../base/index.ts';
import { IndicatorCache } from './indicator-cache.ts';
import type { IndicatorAnswer } from './indicator-lookup.ts';

test('what is listed is told after it was asked for, as old when its time is over, and anew with another set', async () => {
  const clock = new ManualClock(0);
  const asked: string[] = [];
  const lookup = {
    version: '1',
    lookup: async (key: string): Promise<IndicatorAnswer> => {
      asked.push(key);
      const isListed = key === '203.0.113.9';
      return {
        state: isListed ? 'present' : 'missing',
        labels: isListed ? ['c2'] : [],
        version: lookup.version,
      };
    },
  };
  const cache = new IndicatorCache({
    ...{ lookup, ttlMs: 1_000, negativeTtlMs: 100, budgetBytes: 100_000, clock, logger: silentLogger },
  });
  const read = async (key: string) => {
    const answer = cache.read(key, clock.now());
    await cache.answers.settled();
    return [answer.state, ...answer.labels];
  };
  assert.deepEqual(await read('203.0.113.9'), ['missing']);
  assert.deepEqual(await read('203.0.113.9'), ['present', 'c2']);
  assert.deepEqual(await read('192.0.2.1'), ['missing']);
  assert.deepEqual(await read('192.0.2.1'), ['missing']);
  assert.equal(asked.length, 2);
  clock.advance(1_001);
  assert.deepEqual(await read('203.0.113.9'), ['stale', 'c2']);
  assert.deepEqual(await read('203.0.113.9'), ['present', 'c2']);
  lookup.version = '2';
  assert.deepEqual(await read('203.0.113.9'), ['missing']);
  assert.equal(cache.answers.cache.counters.invalidated.indicators, 1);
});
