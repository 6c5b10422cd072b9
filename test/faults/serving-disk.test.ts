import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { openAuditLog, verifyAuditLog } from '../../src/audit/index.ts';
import { armFaultPoints } from '../../src/base/index.ts';
import { clock, memoryKeys, note, onDemand } from '../support/audit-log.ts';
import { FaultHouse } from '../support/fault-house.ts';
import { mountSmallDisk } from '../support/small-disk.ts';
import { SteadyLoad } from '../support/steady-load.ts';

const PAGE = 4_096;
/** What a full disk may be called, by whoever met it. */
const FULL: ReadonlySet<unknown> = new Set(['audit.append-failed', 'storage.disk-full', 'base.disk-full']);

suite('a disk that is full', () => {
  test('under load costs no score and nothing acknowledged; what changes something is refused until there is room', async (t) => {
    const disk = mountSmallDisk(t, 24);
    if (disk === undefined) return;
    await using house = await FaultHouse.open(t, {
      folder: disk.folder,
      config: { audit: { checkpointDelayMs: 50 } },
    });
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    const load = new SteadyLoad(house);
    await load.some(2);
    disk.fill();
    const refused = await load.next('event', ({ status }) => status !== 200);
    assert.deepEqual([refused.status, refused.body.code, refused.retryAfter], [503, 'alerts.not-stored', 1]);
    await load.next('infer', ({ status }) => status === 200);
    const codes = new Set<unknown>();
    // The last pages of the files have room for some entries: each way in which it can be met is met.
    for (let n = 0; n < 20; n++) {
      const answer = await house.promoteOverHttp(version);
      assert.equal(answer.status, 503, JSON.stringify(answer.body));
      codes.add(answer.body.code);
      const tags = { note: 'x'.repeat(n + 1) };
      const tagged = await house.call('POST', `/v1/models/flow/versions/${version}/tags`, { tags });
      assert.ok(tagged.status === 200 || FULL.has(tagged.body.code), JSON.stringify(tagged.body));
    }
    assert.deepEqual(
      [...codes].filter((code) => !FULL.has(code)),
      [],
    );
    t.diagnostic(`refused as ${[...codes].sort().join(', ')}; owed ${guardian.log.health.owed}`);
    assert.ok(codes.has('audit.append-failed'));
    assert.ok((await house.away()).includes('audit'));
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    await load.some(2);

    disk.free();
    await load.next('event', ({ status }) => status === 200);
    while (guardian.log.health.owed > 0) await load.some(1);
    assert.equal((await house.promoteOverHttp(version)).status, 200);
    while (guardian.log.health.signing !== null) await load.some(1);
    await load.stop();
    const { 'event 200': _, 'infer 200': __, 'event 503 alerts.not-stored': ___, ...rest } = load.tally();
    assert.deepEqual(rest, {});
    assert.deepEqual(await house.away(), []);
    assert.deepEqual(await guardian.log.openIntents(), []);
    assert.equal(guardian.engine.current('flow')?.version, version);
    await load.assertKept();
    const { size } = guardian.log;
    await house.stop();
    await house.start();
    assert.ok(house.guardian.log.size >= size);
    assert.equal(house.guardian.engine.current('flow')?.version, version);
    await load.assertKept();
  });

  test('when a promotion was done and could not be said to be: no read calls it tampering, and it is served later', async (t) => {
    const house = await FaultHouse.open(t, { config: { audit: { checkpointDelayMs: 50 } } });
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    const load = new SteadyLoad(house);
    let isFull = false;
    armFaultPoints((name) => {
      if (name === 'registry.alias.moved') isFull = true;
      if (isFull && name === 'audit.entries.after-write') {
        throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      }
    });
    t.after(() => armFaultPoints(undefined));
    const answer = await house.promoteOverHttp(version);
    assert.deepEqual([answer.status, answer.body.code, answer.retryAfter], [503, 'audit.append-failed', 1]);
    assert.equal(await house.metric('audit_owed_outcomes'), 1);
    await assert.rejects(guardian.registry.resolve('flow'), { code: 'audit.append-failed' });
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    await load.some(2);
    isFull = false;
    armFaultPoints(undefined);
    while (guardian.engine.current('flow')?.version !== version) await load.some(1);
    assert.equal((await guardian.registry.resolve('flow')).version, version);
    assert.deepEqual(await guardian.log.openIntents(), []);
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    await load.assertKept();
  });

  test('for the hashes of the log alone: entries are kept, nothing is signed over what is not stored, and it goes on', async (t) => {
    const disk = mountSmallDisk(t, 4);
    if (disk === undefined) return;
    const folder = join(disk.folder, 'audit');
    const { keys, logPublicKeyPem } = await memoryKeys();
    const log = await openAuditLog({ folder, keys, clock, policy: onDemand });
    const bundle = () => statSync(join(folder, 'tile/entries/000.p/0'), { throwIfNoEntry: false });
    // A tile of hashes fills its page with each 128 entries; the bundle of entries is to have room in its own then.
    for (let n = 0; n < 128; n++) await log.append(note(n));
    const entries = join(folder, 'tile/entries/000');
    const slack = () => PAGE - (statSync(entries).size % PAGE);
    assert.ok(bundle() === undefined && slack() > 600, `${slack()} bytes of room`);
    disk.fill();
    assert.equal(await log.append(note(128)), 128, 'durable, and so acknowledged');
    assert.equal((await log.entry(128)).subject, 's128');
    await assert.rejects(log.append(note(129)), { code: 'audit.append-failed', retry: true });
    await assert.rejects(log.checkpoint(), { code: 'audit.append-failed' });
    disk.free();
    assert.equal(await log.append(note(129)), 129);
    const outcome = await log.checkpoint();
    assert.equal(outcome.size, 130);
    await log.close();
    assert.equal((await verifyAuditLog({ folder, logPublicKeyPem })).size, 130);
  });

  test('for the outcome of what was done: it is refused, owed, and written first once there is room', async (t) => {
    const disk = mountSmallDisk(t, 4);
    if (disk === undefined) return;
    const folder = join(disk.folder, 'audit');
    const { keys } = await memoryKeys();
    const log = await openAuditLog({ folder, keys, clock, policy: { entries: 1e9, delayMs: 20 } });
    const intent = await log.append({ ...note(0), kind: 'intent' });
    disk.fill();
    const outcome = {
      ...note(0),
      kind: 'outcome',
      intent,
      result: 'done',
      detail: { text: 'x'.repeat(PAGE) },
    } as const;
    await assert.rejects(log.append(outcome), { code: 'audit.append-failed' });
    assert.deepEqual([log.health.owed, log.health.appending], [1, 'audit.append-failed']);
    await assert.rejects(log.append(outcome), { code: 'audit.entry-invalid' }, 'its place is taken');
    disk.free();
    while (log.health.owed > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(await log.openIntents(), []);
    assert.equal((await log.entry(1)).result, 'done');
    await log.close();
  });
});
