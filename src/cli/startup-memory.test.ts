import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
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

test('a heap that is churned stays within its bound', () => {
  const script = `
    import { boundHeapGrowth } from ${JSON.stringify(new URL('./startup-memory.ts', import.meta.url).href)};
    if (process.argv[1] === 'bounded') boundHeapGrowth();
    const live = Array.from({ length: 200_000 }, (_, i) => ({ i, text: 'x' + i }));
    const recent = [];
    let most = 0;
    for (let i = 0; i < 3_000_000; i++) {
      // Long enough in use to grow old, then garbage.
      recent[(i * 7_919) % 300_000] = { i, at: [i, i], text: 'y' + i };
      if (i % 50_000 === 0) most = Math.max(most, process.memoryUsage().heapTotal);
      if (i % 200_000 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log(most, live.length);`;
  const most = (how: string) =>
    Number(
      execFileSync(process.execPath, ['--input-type=module', '-e', script, how], { encoding: 'utf8' }).split(
        ' ',
      )[0],
    );
  const [bounded, free] = [most('bounded'), most('free')];
  assert.ok(bounded < 0.8 * free, `${bounded} of ${free}`);
});
