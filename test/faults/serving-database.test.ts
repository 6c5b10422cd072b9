import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { armFaultPoints } from '../../src/base/index.ts';
import { FaultHouse } from '../support/fault-house.ts';
import { requirePostgres, startPostgres } from '../support/postgres.ts';
import { SteadyLoad } from '../support/steady-load.ts';

const isRefused = (code: string) => (answer: { readonly body: { readonly code?: unknown } }) =>
  answer.body.code === code;

suite('a database that goes away under load', () => {
  test('as SQLite locked by another process: scoring goes on, findings are refused or kept, and it heals', async (t) => {
    const house = await FaultHouse.open(t);
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    const load = new SteadyLoad(house);
    await load.some(2);
    const other = new DatabaseSync(join(house.folder, 'state/guardian.db'));
    t.after(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    const { status, retryAfter } = await load.next('event', isRefused('alerts.not-stored'));
    assert.deepEqual([status, retryAfter], [503, 1]);
    await load.next('infer', (answer) => answer.status === 200);
    // Of writes alone: in WAL mode who reads waits for nobody.
    assert.equal((await house.call('GET', '/v1/detections')).status, 200);
    const promotion = await house.promoteOverHttp(version);
    assert.deepEqual([promotion.status, promotion.body.code], [503, 'storage.database-away']);
    assert.ok((await house.metric('unsaved_detections')) > 0);
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    other.exec('ROLLBACK');
    await load.next('event', (answer) => answer.status === 200);
    assert.equal((await house.promoteOverHttp(version)).status, 200);
    await load.stop();
    const { 'event 200': _, 'infer 200': __, 'event 503 alerts.not-stored': ___, ...rest } = load.tally();
    assert.deepEqual(rest, {});
    assert.deepEqual(await guardian.log.openIntents(), []);
    await load.assertKept();
  });

  test('and says that it did not commit what it did: stored once, and no later finding is held up', async (t) => {
    const house = await FaultHouse.open(t);
    let isDue = true;
    armFaultPoints((name) => {
      if (name !== 'storage.database.after-commit' || !isDue) return;
      isDue = false;
      throw new RangeError('the answer was lost');
    });
    t.after(() => armFaultPoints(undefined));
    assert.equal((await house.event('198.18.0.1')).body.code, 'alerts.not-stored');
    assert.equal((await house.event('198.18.0.2')).status, 200);
    const found = (await house.guardian.detections.list()).map(({ source }) => source.address);
    assert.deepEqual(found.sort(), ['198.18.0.1', '198.18.0.2']);
  });

  test('and is back when nobody sends anything more: what waited is stored all the same', async (t) => {
    const house = await FaultHouse.open(t);
    const other = new DatabaseSync(join(house.folder, 'state/guardian.db'));
    t.after(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    assert.equal((await house.event('198.18.0.1')).status, 503);
    other.exec('ROLLBACK');
    while ((await house.metric('unsaved_detections')) > 0) await house.infer();
    assert.equal((await house.guardian.detections.list()).length, 1);
  });

  test('as PostgreSQL stopped and started again: scoring goes on, the rest is refused by name, and it heals', async (t) => {
    if (!requirePostgres(t)) return;
    const postgres = await startPostgres();
    t.after(() => postgres.close());
    const folder = mkdtempSync(join(tmpdir(), 'guardian-fault-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const config = { storage: { database: 'postgres', postgres: await postgres.makeDatabase() } };
    const house = await FaultHouse.open(t, { folder, config });
    const { guardian } = house;
    const { version } = await house.publish(0.1);
    const load = new SteadyLoad(house);
    await load.some(2);
    await postgres.stop();
    const refused = await load.next('event', ({ status }) => status !== 200);
    assert.deepEqual([refused.status, refused.body.code, refused.retryAfter], [503, 'alerts.not-stored', 1]);
    await load.next('infer', ({ status }) => status === 200);
    assert.ok((await house.away()).includes('database'));
    assert.equal(await house.metric('database_up'), 0);
    assert.equal((await house.call('GET', '/v1/status')).status, 200);
    const promotion = await house.promoteOverHttp(version);
    assert.deepEqual([promotion.status, promotion.body.code], [503, 'storage.database-unreachable']);
    // Longer than a key is taken as it was read: who is known goes on being let in, and of nobody else is it known.
    house.clock.pass(10_000);
    await load.some(2);
    const stranger = await fetch(`${house.url}/v1/status`, {
      headers: { authorization: `Bearer agk_${'0'.repeat(16)}_${'x'.repeat(43)}` },
    });
    assert.equal(stranger.status, 503);
    await postgres.start();
    await load.next('event', ({ status }) => status === 200);
    assert.equal((await house.promoteOverHttp(version)).status, 200);
    await load.some(2);
    await load.stop();
    const { 'event 200': _, 'infer 200': __, 'event 503 alerts.not-stored': ___, ...rest } = load.tally();
    assert.deepEqual(rest, {});
    assert.equal(guardian.engine.current('flow')?.version, version);
    assert.deepEqual(await guardian.log.openIntents(), []);
    await load.assertKept();
  });
});
