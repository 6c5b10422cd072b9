import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeHome, startGuardian } from '../../test/support/cli.ts';
import { miss } from '../../test/support/requires.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

suite('the process of a command', () => {
  test('leaves no socket behind when the reader of its output goes away', async () => {
    const home = await makeHome();
    const child = startGuardian(home, ['serve', '--port', '0']);
    child.stdout?.destroy();
    const [exitCode] = await once(child, 'exit');
    assert.equal(exitCode, 0);
    const files = readdirSync(join(home.folder, 'state', 'ai-guardian'));
    assert.ok(files.includes('keys.json') && !files.includes('guardian.sock'), files.join(' '));
    await home.remove();
  });

  test('says so when its output cannot be written', async (t) => {
    if (!existsSync('/dev/full')) return void miss(t, 'needs /dev/full');
    const home = await makeHome();
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [MAIN, 'config', 'show'], {
      env: home.environment,
      stdio: ['ignore', full, 'pipe'],
    });
    closeSync(full);
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const [exitCode] = await once(child, 'close');
    assert.equal(exitCode, 4);
    assert.match(stderr, /^guardian: the output cannot be written: ENOSPC/);
    await home.remove();
  });
});
