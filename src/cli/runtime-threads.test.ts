import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { yieldRuntimeThreads } from './runtime-threads.ts';

test("the runtime's own threads give way on one core alone", () => {
  assert.equal(yieldRuntimeThreads(2), 0);
  assert.equal(yieldRuntimeThreads(1, '/nowhere'), 0);
  if (process.platform !== 'linux') return;
  const before = getPriority();
  assert.ok(yieldRuntimeThreads(1) > 0);
  assert.equal(getPriority(), before, 'the thread that answers is as it was');
  for (const id of readdirSync('/proc/self/task')) {
    const isRuntimes = readFileSync(`/proc/self/task/${id}/comm`, 'utf8').includes('V8Worker');
    if (isRuntimes) assert.equal(getPriority(Number(id)), 10);
  }
});
