import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '../../src/base/index.ts';
import { connectNats, sealBus } from '../../src/bus/index.ts';
import { type NatsHouse, startNats } from '../support/nats.ts';
import { countedFlows, flowsOf, openQueueOwner, SUBMITTER, until } from '../support/queue-house.ts';
import { requireTool, toolPath } from '../support/requires.ts';

const CHILD = fileURLToPath(new URL('../support/queue-child.ts', import.meta.url));
const KEYS = mkdtempSync(join(tmpdir(), 'queue-keys-'));
const KEY_FILE = join(KEYS, 'bus.key');
const hasNats = toolPath('nats-server') !== undefined;

suite('the queue of events over NATS', () => {
  let house: NatsHouse | undefined;

  before(async () => {
    writeFileSync(KEY_FILE, randomBytes(32), { mode: 0o600 });
    if (hasNats) house = await startNats();
  });
  after(async () => {
    await house?.close();
    rmSync(KEYS, { recursive: true });
  });

  const open = async () => {
    const bus = await connectNats({ server: house?.server ?? '', maxTopicBytes: 8 * 1024 * 1024 });
    return await sealBus(bus, KEY_FILE);
  };

  test('gives each event one result while workers are killed and cut off', async (t) => {
    if (!requireTool(t, 'nats-server')) return;
    const random = new SeededRandom(29);
    const owner = await openQueueOwner(folderOf(t), open, { partitions: 6 });
    t.after(() => owner.close());
    const workers = await Promise.all(
      ['w1', 'w2', 'w3'].map((id) => startChild(t, house, ['worker', id, '3'])),
    );
    const ids: string[] = [];
    let attacks = 0;
    const send = async (events: number) => {
      for (let i = 0; i < events; i++) {
        const n = random.integer(0, 3);
        const stream = `gate-${random.integer(0, 11)}`;
        ids.push((await owner.queue.submit(flowsOf(n), { stream, ...SUBMITTER })).id);
        attacks += n;
      }
    };
    await send(60);
    await until(async () => (await owner.db.eventResults.count()) > 20);
    workers[0]?.kill('SIGKILL');
    await send(60);
    // Longer than its lease: it does not know that others have its partitions when it goes on.
    workers[1]?.kill('SIGSTOP');
    await send(60);
    await until(async () => (await owner.db.eventResults.count()) > 140);
    workers[1]?.kill('SIGCONT');
    await send(20);
    await until(async () => (await owner.db.eventResults.findStored(ids)).size === ids.length);
    assert.equal(new Set(ids).size, 200);
    assert.equal(await owner.db.eventResults.count(), 200);
    assert.equal(await countedFlows(owner), attacks);
  });

  test('counts an event once whose owner dies between store and acknowledgement', async (t) => {
    if (!requireTool(t, 'nats-server')) return;
    const folder = folderOf(t);
    const submitter = await openQueueOwner(folderOf(t), open);
    const { id } = await submitter.queue.submit(flowsOf(3), { stream: 'hall', ...SUBMITTER });
    // What this owner takes in is its own; only what it queued is wanted here.
    await submitter.close();
    const dying = await startChild(t, house, ['owner', folder]);
    await startChild(t, house, ['worker', 'w9']);
    if (dying.exitCode === null && dying.signalCode === null) await once(dying, 'exit');
    assert.equal(dying.signalCode, 'SIGKILL');
    const owner = await openQueueOwner(folder, open);
    t.after(() => owner.close());
    assert.equal((await owner.queue.find(id))?.state, 'done');
    const before = await owner.store.list();
    assert.deepEqual(
      before.map(({ flows }) => flows),
      [3],
    );
    // The bus gives the same result again, once it has waited for the one who died.
    const other = await owner.queue.submit(flowsOf(1), { stream: 'yard', ...SUBMITTER });
    await until(async () => (await owner.queue.find(other.id))?.state === 'done');
    assert.equal(await owner.db.eventResults.count(), 2);
    assert.deepEqual((await owner.store.list()).map(({ flows }) => flows).sort(), [1, 3]);
  });
});

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'queue-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function startChild(
  t: TestContext,
  house: NatsHouse | undefined,
  [role = '', ...rest]: readonly string[],
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [CHILD, role, house?.server ?? '', KEY_FILE, ...rest], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await Promise.race([once(child.stdout ?? child, 'data'), once(child, 'exit')]);
  return child;
}
