import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';

const CHILD = fileURLToPath(new URL('./change-keys.ts', import.meta.url));
const ADA = { principal: 'ada' };
const VERSIONS = ['1.0.0', '1.1.0'];

let folder: string;
let base: string;
let oldKey: string;

/** The state before: two versions, their data keys wrapped by the first key. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'crash-'));
  base = join(folder, 'base');
  const house = await openHouse(base);
  for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), ADA);
  oldKey = (await house.keys.active('wrapping')).id;
  await house.close();
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the task in a copy of the base until it kills itself at that point; with -1 to its end. */
async function run(task: string, killAt: number): Promise<{ state: string; passed: readonly string[] }> {
  const state = join(folder, `${task}-${killAt}`);
  cpSync(base, state, { recursive: true, preserveTimestamps: true });
  const child = spawn(process.execPath, [CHILD, state, task, String(killAt)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: join(folder, 'compiled') },
  });
  const [output, [code, signal]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  assert.deepEqual([code, signal], killAt < 0 ? [0, null] : [null, 'SIGKILL']);
  return { state, passed: killAt < 0 ? (JSON.parse(output) as string[]) : [] };
}

/** Opens what a crash left: every version opens, no intent is open, and no data key is left half way. */
async function recovered(state: string): Promise<{ active: string; oldState: string | undefined }> {
  const house = await openHouse(state);
  try {
    assert.deepEqual(await house.log.openIntents(), []);
    for (const version of VERSIONS) await house.registry.verify(`flow@${version}`);
    const active = (await house.keys.active('wrapping')).id;
    const wrappedBy = new Set<string>();
    for (const id of await house.db.wraps.list()) {
      for (const { keyId } of (await house.db.wraps.get(id)).wraps) wrappedBy.add(keyId);
    }
    assert.deepEqual([...wrappedBy], [active], 'all data keys are wrapped by the active key');
    return { active, oldState: (await house.keys.find(oldKey))?.state };
  } finally {
    await house.close();
    rmSync(state, { recursive: true, force: true });
  }
}

describe('a kill at any write', { concurrency: 2 }, () => {
  test('of a rotation leaves the old key in force or the new one, for every data key', async () => {
    const { state, passed } = await run('rotate', -1);
    assert.notEqual((await recovered(state)).active, oldKey);
    assert.ok(passed.includes('registry.rotate.rewrapped'));
    let turnedAt: number | undefined;
    for (let at = 0; at < passed.length; at++) {
      const { active } = await recovered((await run('rotate', at)).state);
      const isTurned = active !== oldKey;
      if (isTurned) turnedAt ??= at;
      assert.equal(isTurned, turnedAt !== undefined, `point ${at}, ${passed[at]}`);
    }
    assert.ok(turnedAt !== undefined && turnedAt < passed.length - 1);
  });

  test('of a revocation leaves the key revoked or not, and nothing unreadable', async () => {
    const { state, passed } = await run('revoke', -1);
    assert.equal((await recovered(state)).oldState, 'revoked');
    const seen = new Set<string | undefined>();
    // The rotation within was killed at each of its points above: a third of all are enough here.
    for (let at = 0; at < passed.length; at += 3)
      seen.add((await recovered((await run('revoke', at)).state)).oldState);
    assert.deepEqual(seen, new Set(['active', 'retired', 'revoked']));
  });
});
