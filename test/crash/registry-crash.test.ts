import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verifyAuditLog } from '../../src/audit/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';

const CHILD = fileURLToPath(new URL('./change-registry.ts', import.meta.url));
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

type Task = 'publish-and-promote' | 'recover';

function start(state: string, task: Task, killAt: number): ChildProcess {
  return spawn(process.execPath, [CHILD, state, task, String(killAt)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // The recorded run fills it; the killed ones start in half the time.
    env: { ...process.env, NODE_COMPILE_CACHE: join(folder, 'compiled') },
  });
}

/** Lets the task run to its end in a copy of `from` and returns the fault points it passed. */
async function record(from: string, task: Task): Promise<readonly string[]> {
  const state = copy(from, `${task}-recorded`);
  const child = start(state, task, -1);
  assert.ok(child.stdout);
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  rmSync(state, { recursive: true, force: true });
  return JSON.parse(output);
}

/** Runs the task in a copy of `from` until it kills itself at that point; returns the copy. */
async function crash(from: string, task: Task, killAt: number): Promise<string> {
  const state = copy(from, `${task}-${killAt}`);
  const [code, signal] = await once(start(state, task, killAt), 'exit');
  assert.deepEqual([code, signal], [null, 'SIGKILL']);
  return state;
}

function copy(from: string, name: string): string {
  const to = join(folder, name);
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

describe('kill -9', () => {
  test('at every fault point of publish and promote leaves the old state or the new one, whole', async (t) => {
    const points = await record(base, 'publish-and-promote');
    const writes = ['storage.database.before-commit', 'base.files.before-rename', 'registry.publish.signed'];
    for (const name of writes) assert.ok(points.includes(name), `${name} is passed`);
    t.diagnostic(`${points.length} points of ${new Set(points).size} names`);
    const seen: string[] = [];
    let next = crash(base, 'publish-and-promote', 0);
    for (const [i, name] of points.entries()) {
      const occurrence = points.slice(0, i + 1).filter((each) => each === name).length;
      await t.test(`${name}, time ${occurrence}`, async () => {
        const state = await next;
        // The next process runs while this one's leftovers are looked at.
        if (i + 1 < points.length) next = crash(base, 'publish-and-promote', i + 1);
        const { versions, champion } = await recovered(state);
        seen.push(`${versions} ${champion}`);
      });
    }
    // Later points never show an earlier state, and all three states occur.
    assert.deepEqual([...new Set(seen)], ['1 1.0.0', '2 1.0.0', '2 1.1.0']);
    assert.deepEqual([...seen].sort(), seen);
  });

  test('at every fault point of the recovery from a crash leaves a state that recovers', async (t) => {
    const points = await record(base, 'publish-and-promote');
    const crashed = await crash(base, 'publish-and-promote', points.indexOf('registry.publish.signed'));
    const steps = await record(crashed, 'recover');
    assert.ok(steps.includes('storage.blob.after-delete'));
    let next = crash(crashed, 'recover', 0);
    for (const [i, step] of steps.entries()) {
      await t.test(`${step}, number ${i}`, async () => {
        const state = await next;
        if (i + 1 < steps.length) next = crash(crashed, 'recover', i + 1);
        assert.deepEqual(await recovered(state), { versions: 1, champion: '1.0.0' });
      });
    }
  });
});
