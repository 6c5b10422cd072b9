import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLogger, silentLogger } from '../../base/index.ts';
import type { ThrottleState } from '../../monitor/index.ts';
import { ColumnCodec } from '../column-codec.ts';
import type { FeatureColumn } from '../schema.ts';
import { FeatureCache, type FeatureCacheOptions } from './feature-cache.ts';
import { encodeKnown, stateOf } from './value-state.ts';

function newCache(options: Partial<FeatureCacheOptions<string>> = {}): FeatureCache<string> {
  return new FeatureCache<string>({
    name: 'test',
    ttlMs: 1_000,
    negativeTtlMs: 100,
    budgetBytes: 100_000,
    sizeOf: (value) => value.length * 2,
    dependsOn: ['schema', 'model', 'indicators'],
    logger: silentLogger,
    ...options,
  });
}

const column = (rule: Pick<FeatureColumn, 'invalid' | 'missing'>): FeatureColumn => ({
  name: 'reputation',
  type: 'number',
  unit: 'share',
  transform: 'none',
  range: [0, 1],
  about: 'A number from elsewhere.',
  ...rule,
});

test('a value is missing before it was known, present for its time and stale after', () => {
  const known = { value: 1, sinceMs: 1_000, ttlMs: 500 };
  assert.deepEqual(
    [999, 1_000, 1_500, 1_501].map((atMs) => stateOf(known, atMs)),
    ['missing', 'present', 'present', 'stale'],
  );
  assert.equal(stateOf(undefined, 0), 'missing');
  assert.equal(stateOf({ ...known, value: undefined }, 1_200), 'missing');
});

test('every state becomes what the schema of the column says', () => {
  const known = (value: number) => ({ value, sinceMs: 0, ttlMs: 10 });
  const rules = [
    ['reject', 'refuse', known(0.5), 5, 'present', 0.5, undefined],
    ['reject', 'refuse', known(0.5), 50, 'stale', Number.NaN, 'features.missing-value'],
    ['reject', 'keep', known(0.5), 50, 'stale', Number.NaN, undefined],
    ['reject', 'refuse', undefined, 5, 'missing', Number.NaN, 'features.missing-value'],
    ['reject', 'keep', undefined, 5, 'missing', Number.NaN, undefined],
    ['reject', 'keep', known(7), 5, 'invalid', Number.NaN, 'features.out-of-range'],
    ['clip', 'keep', known(7), 5, 'invalid', 1, undefined],
    ['missing', 'keep', known(7), 5, 'invalid', Number.NaN, undefined],
    ['reject', 'keep', known(Number.POSITIVE_INFINITY), 5, 'invalid', Number.NaN, 'features.not-finite'],
    ['reject', 'refuse', known(7), 50, 'stale', Number.NaN, 'features.missing-value'],
  ] as const;
  for (const [invalid, missing, value, atMs, state, float, problem] of rules) {
    const codec = new ColumnCodec(column({ invalid, missing }));
    assert.deepEqual(encodeKnown(codec, value, atMs), { state, float }, `${invalid} ${missing} ${state}`);
    assert.equal(codec.problem, problem);
  }
});

test('a replay with the times of the rows reads what live traffic read', () => {
  const steps = fc.array(
    fc.record({ after: fc.nat(700), write: fc.boolean(), key: fc.constantFrom('a', 'b') }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(steps, fc.nat(1e9), (script, replayedAt) => {
      const run = (origin: number) => {
        const cache = newCache();
        let atMs = origin;
        return script.map(({ after, write, key }) => {
          atMs += after;
          if (write) cache.write(key, `${atMs - origin}`, atMs);
          const { state, known } = cache.read(key, atMs);
          return [state, known?.value];
        });
      };
      assert.deepEqual(run(0), run(replayedAt));
    }),
    { seed: 20261123, numRuns: 100 },
  );
});

test('that there is no value is kept for a time of its own', () => {
  const cache = newCache();
  cache.write('a', undefined, 0);
  assert.equal(cache.read('a', 50).state, 'missing');
  assert.ok(cache.holds('a', 100));
  assert.ok(!cache.holds('a', 101));
});

test('memory stays within the budget and the entry unused longest goes first', () => {
  const cache = newCache({ budgetBytes: 10 * 200 });
  for (let i = 0; i < 100; i++) {
    cache.write(`key ${i}`, 'value', 0);
    cache.read('key 0', 0);
    assert.ok(cache.bytes <= 2_000);
  }
  assert.equal(cache.read('key 0', 0).state, 'present');
  assert.equal(cache.read('key 1', 0).state, 'missing');
  assert.equal(cache.counters.evicted, 100 - cache.size);
  cache.write('large', 'x'.repeat(2_000), 0);
  assert.equal(cache.read('large', 0).state, 'missing');
  assert.ok(cache.size > 1);
});

test('the budget shrinks while memory is short and not for other causes', () => {
  const listeners: ((state: ThrottleState) => void)[] = [];
  const cache = newCache({ budgetBytes: 64_000 });
  const stop = cache.follow({
    subscribe: (_, listener) => {
      listeners.push(listener);
      return () => listeners.pop();
    },
  });
  const fill = () => {
    for (let i = 0; i < 1_000; i++) cache.write(`key ${i}`, 'value', 0);
    return cache.bytes;
  };
  const say = (state: ThrottleState) => {
    for (const listen of listeners) listen(state);
  };
  assert.ok(fill() > 60_000);
  say({ level: 'slow-batch', causes: ['machineCpuShare'] });
  assert.ok(cache.bytes > 60_000);
  say({ level: 'shed', causes: ['memoryAvailableBytes'] });
  assert.ok(cache.bytes <= 4_000 && cache.bytes > 0);
  assert.ok(fill() <= 4_000);
  say({ level: 'none', causes: [] });
  assert.ok(fill() > 60_000);
  stop();
  assert.equal(listeners.length, 0);
});

test('another schema, model or set of indicators empties the cache and leaves a line that says why', () => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', write: (line) => lines.push(line) });
  const cache = newCache({ logger, dependsOn: ['schema', 'indicators'] });
  const stamps = [
    ['schema', 'flow', 'sha256:1', 0],
    ['schema', 'flow', 'sha256:1', 0],
    ['schema', 'dga', 'sha256:2', 0],
    ['model', 'flow', 'sha256:3', 0],
    ['model', 'flow', 'sha256:4', 0],
    ['schema', 'flow', 'sha256:5', 1],
    ['indicators', '', '7', 1],
    ['indicators', '', '8', 2],
  ] as const;
  for (const [kind, subject, version, emptied] of stamps) {
    cache.write('a', 'value', 0);
    cache.stamp(kind, subject, version);
    assert.equal(lines.length, emptied, `${kind} ${subject} ${version}`);
    assert.equal(cache.size, kind === 'model' || lines.length === 0 || version === '7' ? 1 : 0);
  }
  assert.deepEqual(cache.counters.invalidated, { schema: 1, model: 0, indicators: 1 });
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.deepEqual(
    [line.cache, line.cause, line.subject, line.from, line.to, line.entries],
    ['test', 'schema', 'flow', 'sha256:1', 'sha256:5', 1],
  );
});
