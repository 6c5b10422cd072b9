import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { collectStartupGarbage } from './startup-memory.ts';

test('what a start leaves is given back, and nobody else may collect', () => {
  let garbage: unknown[] | undefined = Array.from({ length: 500_000 }, (_, i) => ({ i }));
  assert.equal(garbage.length, 500_000);
  const before = process.memoryUsage().heapTotal;
  garbage = undefined;
  collectStartupGarbage();
  assert.ok(
    process.memoryUsage().heapTotal < before - 10_000_000,
    `${process.memoryUsage().heapTotal} of ${before}`,
  );
  assert.equal('gc' in globalThis, false);
  assert.equal(runInNewContext('typeof gc'), 'undefined');
});
