import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';
import { type CustodyTask, changeCustody, openLater } from './change-custody.ts';

const ADA = { principal: 'ada' };

let folder: string;
let base: string;

/** Three versions, none of them an alias's, and 1.0.0's wraps in no escrow. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'custody-crash-'));
  base = join(folder, 'base');
  const house = await openHouse(base);
  for (const seed of [1, 2, 3]) await house.registry.publish(makeCandidate({ seed }), ADA);
  await house.close();
});
after(() => rmSync(folder, { recursive: true, force: true }));

let copies = 0;
function copy(from: string): string {
  const to = join(folder, `copy-${copies++}`);
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
  return to;
}

/** What a process leaves that is killed at a fault point. */
interface Leftovers {
  readonly point: string;
  readonly state: string;
}

/** The writes after the point are lost: runs the task and copies the state at every fault point. */
async function killedAtEach(from: string, task: CustodyTask): Promise<readonly Leftovers[]> {
  const state = copy(from);
  const left: Leftovers[] = [];
  await changeCustody(state, task, (point) => left.push({ point, state: copy(state) }));
  rmSync(state, { recursive: true });
  return left;
}

/** What was written is there, and its writer is told that it is not. */
async function fail(from: string, task: CustodyTask, at: number): Promise<string> {
  const state = copy(from);
  let passed = 0;
  await changeCustody(state, task, () => {
    if (passed++ === at) throw new TypeError('the disk says no');
  }).catch(() => {});
  return state;
}

/** Opens what is left, checks that no version is half there, and says which versions live. */
async function livesAfter(state: string): Promise<readonly string[]> {
  const house = await openLater(state);
  try {
    const { registry, db, blobs, log, keys } = house;
    assert.deepEqual(await log.openIntents(), []);
    const versions = await registry.list('flow');
    assert.deepEqual(
      versions.map(({ version }) => version),
      ['1.0.0', '1.1.0', '1.2.0'],
    );
    assert.ok(versions.every(({ isInLog }) => isInLog));
    const live = versions.filter((each) => each.state === 'live');
    for (const { version } of live) await registry.verify(`flow@${version}`);
    assert.equal((await db.wraps.list()).length, live.length);
    for (const { version, state: is } of versions) {
      if (is === 'live') continue;
      await assert.rejects(registry.verify(`flow@${version}`), { code: `registry.version-${is}` });
      const folderOf = await blobs.list(`models/flow/${version}`);
      assert.equal(folderOf.length, is === 'erased' ? 5 : 4);
      assert.equal((await registry.custody.lineage('flow', version)).version, version);
    }
    const erased = versions.find((each) => each.state === 'erased');
    if (erased !== undefined) {
      assert.equal((await registry.custody.eraseStatus('flow', erased.version, ADA)).state, 'complete');
    }
    const { publicKeyPem = '' } = await keys.active('log-signing');
    await verifyAuditLog({ folder: join(state, 'state', 'audit'), logPublicKeyPem: publicKeyPem });
    return live.map(({ version }) => version);
  } finally {
    await house.close();
    rmSync(state, { recursive: true, force: true });
  }
}

const TASKS = [
  [
    'erase',
    [
      ['1.0.0', '1.1.0', '1.2.0'],
      ['1.1.0', '1.2.0'],
    ],
  ],
  ['prune', [['1.0.0', '1.1.0', '1.2.0'], ['1.1.0', '1.2.0'], ['1.2.0']]],
] as const;

describe('a write that is lost, or done and reported lost,', () => {
  for (const [task, states] of TASKS) {
    test(`at every fault point of ${task} leaves each version whole or gone`, async (t) => {
      const left = await killedAtEach(base, task);
      const points = left.map(({ point }) => point);
      for (const name of [
        'registry.removal.before-intent',
        'registry.removal.unwrapped',
        'audit.entries.after-sync',
      ]) {
        assert.ok(points.includes(name), `${name} is passed`);
      }
      t.diagnostic(`${points.length} points of ${new Set(points).size} names, each twice`);
      const killed: string[] = [];
      const failed: string[] = [];
      for (const [i, { point, state }] of left.entries()) {
        killed.push(JSON.stringify(await livesAfter(state)));
        failed.push(JSON.stringify(await livesAfter(await fail(base, task, i))));
        assert.ok(
          [killed.at(-1), failed.at(-1)].every((seen) =>
            states.some((each) => JSON.stringify(each) === seen),
          ),
          `${point}, number ${i}`,
        );
      }
      // Later points never show an earlier state, and every state occurs.
      const expected = states.map((each) => JSON.stringify(each));
      assert.deepEqual([...new Set(killed)], expected);
      assert.deepEqual(
        [...killed].sort((a, b) => expected.indexOf(a) - expected.indexOf(b)),
        killed,
      );
    });
  }

  test('at every fault point of the recovery from a cut erase leaves a state that recovers', async () => {
    const cut = (await killedAtEach(base, 'erase')).find(
      ({ point }) => point === 'registry.removal.before-unwrap',
    );
    assert.ok(cut);
    const left = await killedAtEach(cut.state, 'recover');
    assert.ok(left.some(({ point }) => point === 'registry.removal.unwrapped'));
    // What comes before is the opening of the log, which has crash tests of its own.
    const from = left.findIndex(({ point }) => point === 'registry.removal.before-unwrap');
    for (const [i, { state }] of left.entries()) {
      if (i < from) continue;
      assert.deepEqual(await livesAfter(await fail(cut.state, 'recover', i)), ['1.1.0', '1.2.0']);
      assert.deepEqual(await livesAfter(state), ['1.1.0', '1.2.0']);
    }
  });
});
