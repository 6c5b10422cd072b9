import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { armFaultPoints, ManualClock } from '../../src/base/index.ts';
import { readExport } from '../../src/registry/index.ts';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../support/registry-fixture.ts';

/**
 * Approval, promotion with gates at the door, and import, cut short at every fault point, in two ways. Killed: the state
 * folder is copied at the very point, which is what a dead process leaves behind. Reported lost: the point throws, though
 * what was written before it is there, and the process lives on until it is closed.
 */
const [ADA, BOB, CAROL, OPS] = ['ada', 'bob', 'carol', 'ops'].map((principal) => ({ principal })) as [
  { principal: string },
  { principal: string },
  { principal: string },
  { principal: string },
];
const { evaluator } = fixtureEvaluator();
const parts = { policy: { approvals: 2, gates: 'evaluator' }, evaluator } as const;

let folder: string;
let base: string;
let offered: string;
let key: string;

const open = (state: string) => openHouse(state, new ManualClock(), parts);

/** The state before: a version that one of two has approved, and an export of another registry beside it. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'admission-'));
  base = join(folder, 'base');
  offered = join(folder, 'offered');
  const there = await openHouse(join(folder, 'there'));
  await there.registry.publish(makeCandidate({ seed: 9 }), ADA);
  await there.registry.exportTo('flow@1.0.0', offered);
  key = (await there.keys.active('model-signing')).publicKeyPem ?? '';
  await there.close();
  const house = await open(base);
  for (const name of ['flow', 'guest']) {
    await house.registry.registerGateData(name, { path: '/d', schemaBytes: FIXTURE_SCHEMA }, OPS);
  }
  await house.registry.publish(makeCandidate({ seed: 1 }), ADA);
  await house.registry.approve('flow', '1.0.0', BOB);
  await house.close();
});

after(() => rmSync(folder, { recursive: true, force: true }));

const TASKS = {
  'approve-and-promote': async ({ registry }: House) => {
    await registry.approve('flow', '1.0.0', CAROL);
    await registry.promote('flow', '1.0.0', 'champion', OPS);
  },
  import: async ({ registry }: House) => {
    await registry.importFiles(await readExport(offered), [key], ADA, { name: 'guest' });
  },
} as const;
type Task = keyof typeof TASKS;

/** States in the order in which they may be seen. */
const STATES: Readonly<Record<Task, readonly string[]>> = {
  'approve-and-promote': ['1 approval', '2 approvals', 'champion'],
  import: ['no guest', 'guest'],
};

/** Does the task in a copy of the base; `atPoint` is called at each fault point with its number. */
async function run(task: Task, name: string, atPoint: (state: string, i: number) => void): Promise<string[]> {
  const state = join(folder, name);
  cpSync(base, state, { recursive: true, preserveTimestamps: true });
  const house = await open(state);
  const passed: string[] = [];
  armFaultPoints((point) => {
    passed.push(point);
    atPoint(state, passed.length - 1);
  });
  try {
    await TASKS[task](house);
  } finally {
    armFaultPoints(undefined);
    await house.close().catch(() => {});
  }
  return passed;
}

/** Opens what is left, checks that it is whole, does the task again from there, and says which state it was. */
async function recovered(task: Task, state: string): Promise<string> {
  const house = await open(state);
  try {
    const seen = await check(house);
    if (task === 'import') await TASKS.import(house);
    else {
      if (seen.approvals === 1) await house.registry.approve('flow', '1.0.0', CAROL);
      await house.registry.promote('flow', '1.0.0', 'champion', OPS);
      assert.equal(
        (await house.registry.servedAt('flow', 'champion', Date.UTC(2030, 0))).approvals.length,
        2,
      );
    }
    await check(house);
    const { publicKeyPem = '' } = await house.keys.active('log-signing');
    await house.log.checkpoint();
    const logFolder = join(state, 'state', 'audit');
    const verified = await verifyAuditLog({ folder: logFolder, logPublicKeyPem: publicKeyPem });
    assert.equal(verified.size, house.log.size);
    for (const part of ['blobs', 'wraps']) {
      const left = readdirSync(join(state, 'state', part), { recursive: true, encoding: 'utf8' });
      assert.ok(!left.some((file) => file.includes('.tmp-')), String(left));
    }
    if (task === 'import') return seen.guests > 0 ? 'guest' : 'no guest';
    return seen.isChampion ? 'champion' : seen.approvals === 2 ? '2 approvals' : '1 approval';
  } finally {
    await house.close();
    rmSync(state, { recursive: true, force: true });
  }
}

/** No open intent, no version half there, no evidence that the log does not name, no move without its approvals. */
async function check({ registry, log, blobs, db }: House) {
  assert.deepEqual(await log.openIntents(), []);
  const versions = await registry.list();
  for (const { name, version, isInLog } of versions) {
    assert.ok(isInLog);
    await registry.verify(`${name}@${version}`);
  }
  const guests = versions.filter(({ name }) => name === 'guest').length;
  const stored = await blobs.list('models');
  // An imported version keeps manifest, gates and signature of its origin, and the report of its import.
  assert.equal(stored.length, 5 * versions.length + 4 * guests);
  assert.equal((await db.wraps.list()).length, versions.length);
  const named = new Set<unknown>();
  const approvals = new Set<string>();
  for await (const { entry } of log.entries()) {
    if (entry.kind === 'intent') named.add(entry.detail.evidence);
    if (entry.action === 'model.approve' && entry.result === 'done') approvals.add(entry.principal);
  }
  for (const blob of await blobs.list('evidence')) {
    assert.ok(named.has(`sha256:${blob.replace('evidence/', '').replace('.json', '')}`), blob);
  }
  const { approvals: live } = await registry.show('flow@1.0.0');
  assert.deepEqual(live.map(({ principal }) => principal).sort(), [...approvals].sort());
  const history = await registry.history('flow');
  for (const change of history) {
    assert.deepEqual([change.approvals.length, change.gates], [2, 'evaluator']);
    await registry.servedAt('flow', change.alias, Date.parse(change.doneAt));
  }
  return { approvals: live.length, guests, isChampion: history.length > 0 };
}

for (const task of ['approve-and-promote', 'import'] as const) {
  describe(task, () => {
    test('killed at every fault point leaves the old state or the new one, whole', async (t) => {
      const copies: string[] = [];
      const points = await run(task, `${task}-killed`, (state, i) => {
        const copy = join(folder, `${task}-killed-${i}`);
        cpSync(state, copy, { recursive: true, preserveTimestamps: true });
        copies.push(copy);
      });
      t.diagnostic(`${points.length} points of ${new Set(points).size} names`);
      const seen: string[] = [];
      for (const [i, point] of points.entries()) {
        await t.test(`${point}, number ${i}`, async () => {
          seen.push(await recovered(task, copies[i] as string));
        });
      }
      assert.deepEqual([...new Set(seen)], STATES[task]);
      const order = seen.map((state) => STATES[task].indexOf(state));
      assert.deepEqual(
        order.toSorted((a, b) => a - b),
        order,
      );
    });

    test('told that it failed, at every fault point, leaves the old state or the new one, whole', async (t) => {
      const points = await run(task, `${task}-whole`, () => {});
      for (const [i, point] of points.entries()) {
        await t.test(`${point}, number ${i}`, async () => {
          const name = `${task}-lost-${i}`;
          const failed = await run(task, name, (_, at) => {
            if (at === i) throw new TypeError('injected');
          }).then(
            () => false,
            () => true,
          );
          const seen = await recovered(task, join(folder, name));
          // Who was told that all went well finds it so.
          if (!failed) assert.equal(seen, STATES[task].at(-1));
        });
      }
    });
  });
}
