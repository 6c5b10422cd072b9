import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { armFaultPoints } from '../../src/base/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';

const ADA = { principal: 'ada' };

let folder: string;
let base: string;

/** The state before: one version, published and promoted. */
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'crash-'));
  base = join(folder, 'base');
  const house = await openHouse(base);
  await house.registry.publish(makeCandidate({ seed: 1 }), ADA);
  await house.registry.promote('flow', '1.0.0', 'champion', ADA);
  await house.close();
});

after(() => rmSync(folder, { recursive: true, force: true }));

const TASKS = {
  'publish-and-promote': async (state: string, atPoint: (name: string) => void) => {
    const house = await openHouse(state);
    armFaultPoints(atPoint);
    await house.registry.publish(makeCandidate({ seed: 2 }), ADA);
    await house.registry.promote('flow', '1.1.0', 'champion', ADA);
    armFaultPoints(undefined);
    await house.close();
  },
  recover: async (state: string, atPoint: (name: string) => void) => {
    armFaultPoints(atPoint);
    const house = await openHouse(state);
    armFaultPoints(undefined);
    await house.close();
  },
} as const;

/** What a process leaves that is killed at a fault point. */
interface Leftovers {
  readonly point: string;
  readonly state: string;
}

/** Runs the task in a copy of `from` and copies the state folder at every fault point: what a process killed there leaves. */
async function killedAtEach(from: string, task: keyof typeof TASKS): Promise<readonly Leftovers[]> {
  const state = copy(from, `${task}-whole`);
  const left: Leftovers[] = [];
  await TASKS[task](state, (point) => {
    left.push({ point, state: copy(state, `${task}-${left.length}`) });
  });
  rmSync(state, { recursive: true, force: true });
  return left;
}

function copy(from: string, name: string): string {
  const to = join(folder, name);
  // The second test makes the first one's copies again.
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
  return to;
}

/** Opens what a crash left, checks that it is whole, and says which state it is. */
async function recovered(state: string): Promise<{ versions: number; champion: string }> {
  const house = await openHouse(state);
  try {
    const { registry } = house;
    assert.deepEqual(await house.log.openIntents(), []);
    const versions = await registry.list('flow');
    assert.ok(versions.every((each) => each.isInLog));
    for (const { version } of versions) await registry.verify(`flow@${version}`);
    assert.equal((await house.blobs.list('')).length, 5 * versions.length);
    assert.equal((await house.db.wraps.list()).length, versions.length);
    const champion = (await registry.resolve('flow')).version;
    await registry.verify('flow');
    assert.equal((await registry.history('flow')).at(-1)?.version, champion);
    assert.deepEqual(await doneInLog(house.log), {
      publish: versions.map((each) => `flow@${each.version}`),
      promote: champion === '1.0.0' ? ['flow@1.0.0'] : ['flow@1.0.0', 'flow@1.1.0'],
    });
    // It goes on from here, whichever state it is.
    const { version } = await registry.publish(makeCandidate({ seed: 3 }), ADA);
    await registry.promote('flow', version, 'champion', ADA);
    assert.equal((await registry.verify('flow')).version, version);
    const { publicKeyPem = '' } = await house.keys.active('log-signing');
    const folderOfLog = join(state, 'state', 'audit');
    const verified = await verifyAuditLog({ folder: folderOfLog, logPublicKeyPem: publicKeyPem });
    assert.equal(verified.size, house.log.size);
    assert.deepEqual(leftovers(state), []);
    return { versions: versions.length, champion };
  } finally {
    await house.close();
    rmSync(state, { recursive: true, force: true });
  }
}

/** Subjects of what the log calls done, by action. */
async function doneInLog(log: Awaited<ReturnType<typeof openHouse>>['log']) {
  const done = { publish: [] as string[], promote: [] as string[] };
  for await (const { entry } of log.entries()) {
    if (entry.kind !== 'outcome' || entry.result !== 'done') continue;
    if (entry.action === 'model.publish') done.publish.push(entry.subject);
    if (entry.action === 'model.promote') done.promote.push(entry.subject);
  }
  return done;
}

/** Temporary files among the blobs and wraps. */
function leftovers(state: string): string[] {
  return ['blobs', 'wraps'].flatMap((part) =>
    readdirSync(join(state, 'state', part), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.includes('.tmp-'),
    ),
  );
}

describe('a process killed', () => {
  test('at every fault point of publish and promote leaves the old state or the new one, whole', async (t) => {
    const left = await killedAtEach(base, 'publish-and-promote');
    const points = left.map(({ point }) => point);
    const writes = ['storage.database.before-commit', 'base.files.before-rename', 'registry.publish.signed'];
    for (const name of writes) assert.ok(points.includes(name), `${name} is passed`);
    t.diagnostic(`${points.length} points of ${new Set(points).size} names`);
    const seen: string[] = [];
    for (const [i, { point, state }] of left.entries()) {
      const occurrence = points.slice(0, i + 1).filter((each) => each === point).length;
      await t.test(`${point}, time ${occurrence}`, async () => {
        const { versions, champion } = await recovered(state);
        seen.push(`${versions} ${champion}`);
      });
    }
    // Later points never show an earlier state, and all three states occur.
    assert.deepEqual([...new Set(seen)], ['1 1.0.0', '2 1.0.0', '2 1.1.0']);
    assert.deepEqual([...seen].sort(), seen);
  });

  test('at every fault point of the recovery from a crash leaves a state that recovers', async (t) => {
    const cut = (await killedAtEach(base, 'publish-and-promote')).find(
      ({ point }) => point === 'registry.publish.signed',
    );
    assert.ok(cut);
    const left = await killedAtEach(cut.state, 'recover');
    assert.ok(left.some(({ point }) => point === 'storage.blob.after-delete'));
    for (const [i, { point, state }] of left.entries()) {
      await t.test(`${point}, number ${i}`, async () => {
        assert.deepEqual(await recovered(state), { versions: 1, champion: '1.0.0' });
      });
    }
  });
});
