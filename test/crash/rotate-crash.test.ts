import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { armFaultPoints } from '../../src/base/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';

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

/** Runs the task in a copy of the base and copies the state at every fault point: what a process killed there leaves. */
async function run(task: 'rotate' | 'revoke') {
  const state = join(folder, task);
  cpSync(base, state, { recursive: true, preserveTimestamps: true });
  const house = await openHouse(state);
  const left: { readonly point: string; readonly state: string }[] = [];
  armFaultPoints((point) => {
    const copy = `${state}-${left.length}`;
    cpSync(state, copy, { recursive: true, preserveTimestamps: true });
    left.push({ point, state: copy });
  });
  if (task === 'rotate') await house.registry.rotateKey('wrapping', ADA);
  else await house.registry.revokeKey(oldKey, ADA);
  armFaultPoints(undefined);
  await house.close();
  return { state, left };
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

describe('a kill at any write', () => {
  test('of a rotation leaves the old key in force or the new one, for every data key', async () => {
    const { state, left } = await run('rotate');
    assert.notEqual((await recovered(state)).active, oldKey);
    assert.ok(left.some(({ point }) => point === 'registry.rotate.rewrapped'));
    let turnedAt: number | undefined;
    for (const [at, { point, state: cut }] of left.entries()) {
      const isTurned = (await recovered(cut)).active !== oldKey;
      if (isTurned) turnedAt ??= at;
      assert.equal(isTurned, turnedAt !== undefined, `point ${at}, ${point}`);
    }
    assert.ok(turnedAt !== undefined && turnedAt < left.length - 1);
  });

  test('of a revocation leaves the key revoked or not, and nothing unreadable', async () => {
    const { state, left } = await run('revoke');
    assert.equal((await recovered(state)).oldState, 'revoked');
    const seen: (string | undefined)[] = [];
    for (const { state: cut } of left) seen.push((await recovered(cut)).oldState);
    assert.deepEqual([...new Set(seen)], ['active', 'retired', 'revoked']);
  });
});
