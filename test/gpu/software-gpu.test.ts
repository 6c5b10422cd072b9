import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireSoftwareGpu } from '../support/software-gpu.ts';

/** Drivers are chosen when the package is loaded, so the cases run in a process of their own. */
test('on software Vulkan the feature backend', async (t) => {
  const env = requireSoftwareGpu(t);
  if (env === undefined) return;
  const cases = fileURLToPath(new URL('./cases.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [cases], { env, timeout: 120_000 });
  const results = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; problem?: string });
  assert.equal(results.length, 8);
  for (const { name, problem } of results) await t.test(name, () => assert.equal(problem, undefined));
});

test('without a driver the package gives no adapter, and a reason instead of an error', async () => {
  const code =
    "const { openDevice } = await import('./src/features/index.ts');" +
    'process.stdout.write((await openDevice()).reason ?? "");';
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module-typescript', '-e', code],
    { cwd: fileURLToPath(new URL('../..', import.meta.url)), env: { PATH: '', VK_DRIVER_FILES: '/nowhere' } },
  );
  assert.match(stdout, /^no adapter/);
});
