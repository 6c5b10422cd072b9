import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireSoftwareGpu } from '../support/software-gpu.ts';

/** Drivers are chosen when the package is loaded, so the cases run in processes of their own. */
const FILES = [
  { what: 'the feature backend', file: './cases.ts', cases: 8 },
  { what: 'scoring', file: './scoring-cases.ts', cases: 11 },
];
for (const { what, file, cases } of FILES) {
  test(`on software Vulkan ${what}`, async (t) => {
    const env = requireSoftwareGpu(t);
    if (env === undefined) return;
    const path = fileURLToPath(new URL(file, import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [path], { env, timeout: 300_000 });
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; problem?: string });
    assert.equal(results.length, cases);
    for (const { name, problem } of results) await t.test(name, () => assert.equal(problem, undefined));
  });
}

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
