import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, silentLogger } from '../../base/index.ts';
import { RefreshedCache, type RefreshLimits } from './refreshed-cache.ts';

type Answer = PromiseWithResolvers<string | undefined>;

function newCache(limits: Partial<RefreshLimits> = {}) {
  const clock = new ManualClock(0);
  const questions: { readonly key: string; readonly answer: Answer; readonly signal: AbortSignal }[] = [];
  const cache = new RefreshedCache<string>({
    ...{ name: 'test', ttlMs: 1_000, negativeTtlMs: 100, budgetBytes: 100_000, logger: silentLogger },
    ...{ clock, limits, dependsOn: ['indicators'], sizeOf: (value) => value.length, random: () => 0.5 },
    ask: (key, signal) => {
      const answer = Promise.withResolvers<string | undefined>();
      questions.push({ key, answer, signal });
      return answer.promise;
    },
  });
  const read = (key: string) => {
    const { state, known } = cache.read(key, clock.now());
    return [state, known?.value];
  };
  return { clock, questions, cache, read };
}

test('a key is asked for once, however often it is read meanwhile, and again when stale', async () => {
  const { clock, questions, cache, read } = newCache();
  for (let i = 0; i < 5; i++) assert.deepEqual(read('a'), ['missing', undefined]);
  assert.equal(questions.length, 1);
  questions[0]?.answer.resolve('first');
  await cache.settled();
  assert.deepEqual(read('a'), ['present', 'first']);
  clock.advance(1_001);
  // The old value is told as stale until the new one is there.
  assert.deepEqual(read('a'), ['stale', 'first']);
  assert.deepEqual(read('a'), ['stale', 'first']);
  assert.equal(questions.length, 2);
  questions[1]?.answer.resolve('second');
  await cache.settled();
  assert.deepEqual(read('a'), ['present', 'second']);
  assert.equal(questions.length, 2);
});

test('that the source has no value is asked again after a time of its own', async () => {
  const { clock, questions, cache, read } = newCache();
  read('a');
  questions[0]?.answer.resolve(undefined);
  await cache.settled();
  clock.advance(100);
  assert.deepEqual(read('a'), ['missing', undefined]);
  assert.equal(questions.length, 1);
  clock.advance(1);
  read('a');
  assert.equal(questions.length, 2);
});

test('few questions are under way at once, and what does not fit the queue is dropped and counted', async () => {
  const { questions, cache, read } = newCache({ concurrency: 2, waiting: 3 });
  for (const key of 'abcdefgh') read(key);
  assert.deepEqual(
    questions.map(({ key }) => key),
    ['a', 'b'],
  );
  assert.equal(cache.counters.dropped, 3);
  for (let i = 0; i < 5; i++) {
    questions[i]?.answer.resolve('value');
    await new Promise(setImmediate);
    assert.ok(questions.length <= i + 3);
  }
  await cache.settled();
  assert.deepEqual(
    questions.map(({ key }) => key),
    ['a', 'b', 'c', 'd', 'e'],
  );
});

test('after a failure the source is spared, longer with each one, and failures are counted', async () => {
  const { clock, questions, cache, read } = newCache({ backOffMs: 1_000, longestBackOffMs: 3_000 });
  // Random 0.5 is three quarters of the back-off.
  for (const pause of [750, 1_500, 2_250, 2_250]) {
    const before = questions.length;
    read('a');
    assert.equal(questions.length, before + 1);
    questions.at(-1)?.answer.reject(new Error('away'));
    await cache.settled();
    clock.advance(pause - 1);
    read('a');
    read('b');
    assert.equal(questions.length, before + 1);
    clock.advance(1);
  }
  assert.equal(cache.counters.failed, 4);
  read('a');
  questions.at(-1)?.answer.resolve('back');
  await cache.settled();
  assert.deepEqual(read('a'), ['present', 'back']);
});

test('an answer to a question from before the cache was emptied is not kept', async () => {
  const { questions, cache, read } = newCache();
  cache.cache.stamp('indicators', '', '1');
  read('a');
  cache.cache.stamp('indicators', '', '2');
  questions[0]?.answer.resolve('of version 1');
  await cache.settled();
  assert.deepEqual(read('a'), ['missing', undefined]);
  assert.equal(questions.length, 2);
});

test('closing ends a question that nobody answers, and begins no other', async () => {
  const { questions, cache, read } = newCache({ concurrency: 1 });
  read('a');
  read('b');
  await cache.close();
  assert.ok(questions[0]?.signal.aborted);
  read('c');
  assert.equal(questions.length, 1);
  assert.equal(cache.counters.failed, 0);
});
