import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { requireTool } from '../../test/support/requires.ts';

const MODULE = fileURLToPath(new URL('./core-dumps.ts', import.meta.url));

describe('core dumps', () => {
  test('are off for this process, in files and in programs, once they were turned off', async (t) => {
    if (!requireTool(t, 'prlimit')) return;
    // In a process of its own: the limit cannot be raised again.
    const script = `
      const { readCoreDumps, turnCoreDumpsOff } = await import(${JSON.stringify(MODULE)});
      await turnCoreDumpsOff();
      console.log(JSON.stringify(await readCoreDumps()));`;
    const { stdout } = await promisify(execFile)('/bin/sh', [
      ...['-c', 'ulimit -S -c unlimited; exec "$0" "$@"', process.execPath],
      ...['--input-type=module', '-e', script],
    ]);
    const state = JSON.parse(stdout) as { limit: number; filter: number; isOff: boolean };
    assert.deepEqual([state.limit, state.filter, state.isOff], [1, 0, true]);
  });
});
