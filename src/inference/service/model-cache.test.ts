import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { randomModel } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import { encodeModel } from '../../models/index.ts';
import { ModelCache } from './model-cache.ts';
import { measureModel } from './model-size.ts';

const NONE = () => false;
const model = (bytes: number) => ({ value: bytes, bytes });

suite('the cache of models', () => {
  test('lets the one unused longest go first', () => {
    const cache = new ModelCache<number>(100);
    cache.put('a', model(40), NONE);
    cache.put('b', model(40), NONE);
    assert.equal(cache.get('a'), 40);
    cache.put('c', model(40), NONE);
    assert.equal(cache.get('b'), undefined);
    assert.equal(cache.get('a'), 40);
    assert.deepEqual(cache.stats, {
      models: 2,
      bytes: 80,
      budgetBytes: 100,
      hits: 2,
      misses: 1,
      evictions: 1,
    });
  });

  test('keeps what is in use while memory is short, and lets go of the rest', () => {
    const cache = new ModelCache<number>(100);
    const inUse = (key: string) => key === 'a';
    for (const key of ['a', 'b', 'c']) cache.put(key, model(30), inUse);
    cache.limit(0.5, inUse);
    assert.deepEqual(
      ['a', 'b', 'c'].map((key) => cache.peek(key)),
      [30, undefined, undefined],
    );
    cache.limit(0, inUse);
    assert.equal(cache.peek('a'), 30);
    cache.limit(1, inUse);
    cache.put('d', model(30), inUse);
    assert.equal(cache.peek('a'), 30);
  });

  test('refuses a model that does not fit beside those in use, and changes nothing', () => {
    const cache = new ModelCache<number>(100);
    const inUse = (key: string) => key === 'a';
    cache.put('a', model(60), inUse);
    cache.put('b', model(30), inUse);
    assert.throws(() => cache.put('c', model(50), inUse), { code: 'inference.model-memory' });
    assert.equal(cache.peek('b'), 30);
    assert.equal(cache.stats.bytes, 90);
  });

  test('counts a model in the place of another of its key once', () => {
    const cache = new ModelCache<number>(100);
    cache.put('a', model(60), NONE);
    cache.put('a', model(70), NONE);
    assert.equal(cache.stats.bytes, 70);
    assert.equal(cache.delete('a'), true);
    assert.equal(cache.delete('a'), false);
    assert.equal(cache.stats.bytes, 0);
  });

  test('never holds more than its budget but for what is in use', () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      bytes: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.subarray(['a', 'b']), (steps, used) => {
        const cache = new ModelCache<number>(100);
        const inUse = (key: string) => (used as string[]).includes(key);
        for (const { key, bytes } of steps) {
          try {
            cache.put(key, model(bytes), inUse);
          } catch {
            continue;
          }
          assert.equal(cache.peek(key), bytes);
          assert.ok(cache.stats.bytes <= 100);
        }
      }),
      { seed: 20261123, numRuns: 300 },
    );
  });

  test('measures a model by its buffers, in the order of what its file takes', () => {
    const small = randomModel(new SeededRandom(1));
    const bytes = measureModel(small);
    assert.ok(bytes > encodeModel(small).length, `${bytes}`);
    assert.equal(measureModel(small), bytes);
    const big = { ...small, extra: new Float32Array(1_000_000) };
    assert.equal(measureModel(big as never) - measureModel({ ...small } as never), 8_000_000);
  });
});
