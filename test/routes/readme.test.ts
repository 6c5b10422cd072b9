import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ensureAdminKey, listenHttp } from '../../src/server/index.ts';
import { requireTool } from '../support/requires.ts';
import { openServedHouse, sentAttack } from '../support/served-guardian.ts';

/** The address in the README. */
const PRINTED = '127.0.0.1:8411';

/** The commands of the block that begins by reading the key, as they are printed. */
function printedCommands(): { readonly key: string; readonly curls: readonly string[] } {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, block = ''] = /```\n(KEY=[\s\S]*?)```/.exec(readme) ?? [];
  const [key = '', ...curls] = block.trim().split(/\n(?=curl )/);
  return { key, curls };
}

/** Runs a command; one that does not end by itself is stopped at its first line of output. */
function runShell(command: string, home: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', `set -e; ${command}`], {
      env: { PATH: process.env.PATH, HOME: home },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (command.includes('curl -N') && output.includes('\n')) process.kill(-(child.pid as number));
    });
    child.once('error', reject);
    child.once('close', () => resolve(output));
  });
}

suite('the README', { timeout: 60_000 }, () => {
  test('has curl examples that work as printed', async (t) => {
    if (!requireTool(t, 'curl') || !requireTool(t, 'bash')) return;
    const house = await openServedHouse({ config: { server: { allowedHosts: [PRINTED] } } });
    const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
    const home = mkdtempSync(join(tmpdir(), 'guardian-readme-'));
    try {
      // The port that is printed may be taken: curl is told to go to another, and says the printed one all the same.
      writeFileSync(join(home, '.curlrc'), `connect-to = "${PRINTED}:${new URL(http.url).host}"\n`);
      const state = join(home, '.local/state/ai-guardian');
      mkdirSync(state, { recursive: true });
      const adminKey = readFileSync((await ensureAdminKey(house.guardian)) ?? '', 'utf8');
      writeFileSync(join(state, 'admin.key'), adminKey);
      const sent = await fetch(`${http.url}/v1/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${adminKey.trim()}`, 'content-type': 'application/json' },
        body: JSON.stringify(Array.from({ length: 8 }, (_, i) => sentAttack({ destinationPort: i + 1 }))),
      });
      assert.equal(sent.status, 200);
      const { key, curls } = printedCommands();
      const answers = new Map<string, string>();
      for (const curl of curls) {
        const url = /http:\S+8411([^\s"]*)/.exec(curl)?.[1] ?? '';
        answers.set(url, await runShell(`${key}\n${curl}`, home));
      }
      const json = (url: string) => JSON.parse(answers.get(url) ?? '') as Record<string, unknown>;
      assert.equal(json('/v1/status').name, 'AI Guardian');
      assert.equal((json('/v1/detections?limit=5').detections as object[]).length, 1);
      assert.equal((json('/v1/detections?format=ocsf').detections as object[]).length, 1);
      assert.equal(json('/v2/models/flow').name, 'flow');
      assert.match(answers.get('/metrics') ?? '', /^guardian_audit_entries \d/m);
      assert.match(answers.get('/v1/detections/stream') ?? '', /^: open/);
      assert.equal(json('/v1/events').flows, 1);
      assert.equal((json('/v2/models/flow/infer').outputs as object[]).length, 3);
      assert.equal(answers.size, 8);
    } finally {
      await http.close();
      await house.close();
      rmSync(home, { recursive: true, force: true });
    }
  });
});
