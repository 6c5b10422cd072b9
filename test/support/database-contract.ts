import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Database, DetectionRow, VersionRow } from '../../src/storage/index.ts';

/** What the contract is held against; looked up in each test, after the caller's `beforeEach`. */
export interface DatabaseHouse {
  readonly db: Database;
  /** Changes rows past the query sets, the way an intruder would. */
  edit(sql: string): Promise<void> | void;
}

export const VERSION: VersionRow = {
  name: 'flow',
  version: '1.0.0',
  digest: `sha256:${'a'.repeat(64)}`,
  schemaId: `sha256:${'b'.repeat(64)}`,
  sourceKinds: ['packets'],
  gatesPassed: true,
  dataKeyId: 'dk-1',
  intent: 3,
  createdAt: '2026-01-01T00:00:00.000Z',
  author: 'ada',
};
export const CHANGE = {
  name: 'flow',
  alias: 'champion',
  version: '1.0.0',
  intent: 5,
  action: 'promote' as const,
  principal: 'ada',
  changedAt: '2026-01-01T00:00:00.000Z',
  approvals: ['ada'],
};

export function detection(uid: string, over: Partial<DetectionRow> = {}): DetectionRow {
  return {
    uid,
    time: 1000,
    lastSeen: 1000,
    kind: 'port-scan',
    source: '10.0.0.1',
    detection: { uid },
    ...over,
  };
}

/** The query sets, the same on every database. */
export function databaseContract(house: () => DatabaseHouse): void {
  describe('versions and aliases', () => {
    test('lists versions in order of publication and refuses a second of the same name', async () => {
      const { db } = house();
      await db.versions.insert(VERSION);
      await db.versions.insert({
        ...VERSION,
        version: '1.1.0',
        dataKeyId: 'dk-2',
        intent: 4,
        gatesPassed: false,
      });
      assert.deepEqual(
        (await db.versions.list('flow')).map((row) => row.version),
        ['1.0.0', '1.1.0'],
      );
      assert.equal((await db.versions.list()).length, 2);
      assert.equal((await db.versions.list('other')).length, 0);
      await assert.rejects(db.versions.insert({ ...VERSION, dataKeyId: 'dk-3', intent: 9 }), {
        code: 'storage.row-exists',
      });
    });

    test('moves an alias and its history together', async () => {
      const { db } = house();
      await db.versions.insert(VERSION);
      await db.versions.insert({ ...VERSION, version: '1.1.0', dataKeyId: 'dk-2', intent: 4 });
      await db.aliases.move(CHANGE);
      const second = { ...CHANGE, version: '1.1.0', previous: '1.0.0', intent: 8 };
      await db.aliases.move(second);
      assert.deepEqual(await db.aliases.find('flow', 'champion'), {
        name: 'flow',
        alias: 'champion',
        version: '1.1.0',
        intent: 8,
      });
      assert.deepEqual(await db.aliases.history('flow'), [CHANGE, second]);
      assert.deepEqual(await db.aliases.findChange(8), second);
      assert.equal(await db.aliases.findChange(9), undefined);
      assert.equal((await db.aliases.list()).length, 1);
      assert.equal((await db.aliases.list('flow')).length, 1);
      assert.equal(await db.aliases.find('flow', 'shadow'), undefined);
    });

    test('refuses an alias to a version that does not exist, and leaves no history of it', async () => {
      const { db } = house();
      await assert.rejects(db.aliases.move(CHANGE), { code: 'storage.row-missing' });
      assert.deepEqual(await db.aliases.history('flow'), []);
    });

    test('names a row that was edited into another shape', async () => {
      const { db } = house();
      await db.versions.insert(VERSION);
      await house().edit("UPDATE versions SET source_kinds = '{'");
      await assert.rejects(db.versions.find('flow', '1.0.0'), {
        code: 'storage.row-malformed',
        category: 'security',
      });
      await house().edit("UPDATE versions SET source_kinds = '{}'");
      await assert.rejects(db.versions.list(), { code: 'storage.row-malformed' });
    });
  });

  describe('detections', () => {
    test('are found by time, kind and source, newest first', async () => {
      const { db } = house();
      await db.detections.insertDetection(detection('a'));
      await db.detections.insertDetection(detection('b', { time: 2000.7, kind: 'syn-flood' }));
      await db.detections.insertDetection(detection('c', { time: 3000, source: '10.0.0.2' }));
      const uids = async (options = {}) =>
        (await db.detections.listDetections(options)).map((row) => row.uid);
      assert.deepEqual(await uids(), ['c', 'b', 'a']);
      assert.deepEqual(await uids({ since: 2000 }), ['c', 'b']);
      assert.deepEqual(await uids({ kind: 'port-scan' }), ['c', 'a']);
      assert.deepEqual(await uids({ source: '10.0.0.1', kind: 'port-scan' }), ['a']);
      assert.deepEqual(await uids({ limit: 1 }), ['c']);
      assert.deepEqual(await uids({ limit: -5 }), []);
      assert.equal(await db.detections.countDetections(), 3);
      assert.equal(await db.detections.countDetections({ since: 2000, source: '10.0.0.2' }), 1);
      assert.deepEqual(await db.detections.findDetection('a'), detection('a'));
      assert.equal(await db.detections.findDetection('z'), undefined);
    });

    test('hold hostile text as text', async () => {
      const { db } = house();
      const source = `'; DROP TABLE detections; --`;
      await db.detections.insertDetection(detection('a', { source, detection: { name: '\u0000"\u2028' } }));
      const [row] = await db.detections.listDetections({ source });
      assert.deepEqual(row?.detection, { name: '\u0000"\u2028' });
    });

    test('keep at most one waiting notice for each activity, with the latest state', async () => {
      const { db } = house();
      await db.detections.insertDetection(detection('a'));
      for (let n = 1; n <= 3; n++) await db.detections.updateDetection(detection('a', { detection: { n } }));
      const notices = await db.detections.listOutbox();
      assert.deepEqual(
        notices.map(({ activity, detection: body }) => [activity, body]),
        [
          ['create', { uid: 'a' }],
          ['update', { n: 3 }],
        ],
      );
      await db.detections.updateDetection(detection('a', { detection: { n: 4 } }));
      await db.detections.confirmOutbox(notices.map((notice) => notice.sequence));
      const left = await db.detections.listOutbox({ after: notices.at(-1)?.sequence ?? 0, limit: 10 });
      assert.deepEqual(
        left.map((notice) => notice.detection),
        [{ n: 4 }],
      );
      await db.detections.confirmOutbox([]);
    });

    test('forget the notices up to a number, and no others', async () => {
      const { db } = house();
      assert.equal(await db.detections.lastNotice(), 0);
      for (const uid of ['a', 'b', 'c']) await db.detections.insertDetection(detection(uid));
      const [, second, third] = await db.detections.listOutbox();
      assert.equal(await db.detections.lastNotice(), third?.sequence);
      await db.detections.forgetNotices(second?.sequence ?? 0);
      assert.deepEqual(
        (await db.detections.listOutbox()).map(({ uid }) => uid),
        ['c'],
      );
    });

    test('have the last verdict that was given, counted by model', async () => {
      const { db } = house();
      const said = {
        verdict: 'false',
        note: '',
        principal: 'ada',
        kind: 'port-scan',
        model: 'flow@1.0.0',
      } as const;
      await db.verdicts.set({ ...said, uid: 'a', time: 2.5 });
      await db.verdicts.set({ ...said, uid: 'b', time: 1 });
      await db.verdicts.set({ ...said, uid: 'c', time: 3, verdict: 'benign-trigger' });
      await db.verdicts.set({ ...said, uid: 'a', time: 3, verdict: 'true', note: 'ours' });
      assert.deepEqual(await db.verdicts.find('a'), {
        ...said,
        uid: 'a',
        time: 3,
        verdict: 'true',
        note: 'ours',
      });
      assert.equal(await db.verdicts.find('z'), undefined);
      assert.deepEqual([...(await db.verdicts.findAll(['b', 'z'])).keys()], ['b']);
      const uids = async (options: Parameters<typeof db.verdicts.list>[0]) =>
        (await db.verdicts.list(options)).map(({ uid }) => uid);
      assert.deepEqual(await uids({}), ['b', 'a', 'c']);
      assert.deepEqual(await uids({ after: { time: 3, uid: 'a' } }), ['c']);
      assert.deepEqual(await db.verdicts.count(), [
        { model: 'flow@1.0.0', verdict: 'benign-trigger', count: 1 },
        { model: 'flow@1.0.0', verdict: 'false', count: 1 },
        { model: 'flow@1.0.0', verdict: 'true', count: 1 },
      ]);
    });

    test('have rules that silence their notices, until one is removed', async () => {
      const { db } = house();
      const rule = {
        id: 'r1',
        kind: 'port-scan',
        untilMs: 9,
        reason: 'ours',
        principal: 'ada',
        createdMs: 1,
      };
      await db.suppressions.add({
        ...rule,
        id: 'r2',
        source: '10.0.0.1',
        destination: '10.0.0.0/8',
        createdMs: 2,
      });
      await db.suppressions.add(rule);
      assert.deepEqual(await db.suppressions.list(), [
        rule,
        { ...rule, id: 'r2', source: '10.0.0.1', destination: '10.0.0.0/8', createdMs: 2 },
      ]);
      await db.suppressions.remove('r2');
      assert.deepEqual(await db.suppressions.list(), [rule]);
    });

    test('refuse a second insert and an update of none, and write nothing of a batch that fails', async () => {
      const { db } = house();
      await db.detections.insertDetection(detection('a'));
      await assert.rejects(db.detections.insertDetection(detection('a')), { code: 'storage.row-exists' });
      await assert.rejects(db.detections.updateDetection(detection('b')), { code: 'storage.row-missing' });
      await assert.rejects(
        db.detections.saveDetections([
          { activity: 'create', row: detection('c') },
          { activity: 'create', row: detection('a') },
        ]),
        { code: 'storage.row-exists' },
      );
      assert.equal(await db.detections.countDetections(), 1);
      assert.equal((await db.detections.listOutbox()).length, 1);
      await db.detections.saveDetections([]);
    });
  });

  describe('results of events', () => {
    const result = (id: string, time = 1_000) => ({ id, time, body: { flows: 3 } });

    test('come with the detections of their event, or not at all', async () => {
      const { db } = house();
      const create = (uid: string) => ({ activity: 'create' as const, row: detection(uid) });
      await db.detections.saveDetections([create('a')], [result('e1'), result('e2')]);
      assert.deepEqual(await db.eventResults.find('e1'), result('e1'));
      assert.equal(await db.eventResults.find('e3'), undefined);
      assert.deepEqual([...(await db.eventResults.findStored(['e1', 'e3', 'e2']))].sort(), ['e1', 'e2']);
      // The same result again, with a detection that must not come with it.
      await assert.rejects(db.detections.saveDetections([create('b')], [result('e3'), result('e1')]), {
        code: 'storage.row-exists',
      });
      assert.equal(await db.detections.findDetection('b'), undefined);
      await assert.rejects(db.detections.saveDetections([create('a')], [result('e3')]), {
        code: 'storage.row-exists',
      });
      assert.equal(await db.eventResults.count(), 2);
    });

    test('are forgotten by their age', async () => {
      const { db } = house();
      const many = Array.from({ length: 600 }, (_, i) => result(`e${i}`, i + 0.5));
      await db.detections.saveDetections([], many);
      assert.equal((await db.eventResults.findStored(many.map(({ id }) => id))).size, 600);
      await db.eventResults.forgetBefore(590);
      assert.equal(await db.eventResults.count(), 10);
    });
  });

  describe('access keys and settings', () => {
    test('an access key is added, found, listed and revoked once', async () => {
      const { db } = house();
      const row = { id: 'k1', sha256: 'ab', principal: 'ada', roles: ['viewer'], createdAt: 1, expiresAt: 9 };
      await db.accessKeys.addAccessKey(row);
      await assert.rejects(db.accessKeys.addAccessKey(row), { code: 'storage.row-exists' });
      await db.accessKeys.addAccessKey({ ...row, id: 'k2', createdAt: 2, revokedAt: 3 });
      assert.deepEqual(await db.accessKeys.findAccessKey('k1'), row);
      assert.equal(await db.accessKeys.findAccessKey('k9'), undefined);
      const rows = await db.accessKeys.findAccessKeysOf('ada');
      assert.deepEqual(
        rows.map(({ id }) => id),
        ['k1', 'k2'],
      );
      assert.deepEqual(await db.accessKeys.findAccessKeysOf('bob'), []);
      await db.accessKeys.revokeAccessKey('k1', 5);
      await db.accessKeys.revokeAccessKey('k1', 7);
      assert.deepEqual(
        (await db.accessKeys.listAccessKeys()).map((key) => [key.id, key.revokedAt]),
        [
          ['k1', 5],
          ['k2', 3],
        ],
      );
      await assert.rejects(db.accessKeys.revokeAccessKey('k9', 5), { code: 'storage.row-missing' });
    });

    test('a setting is set, replaced and removed', async () => {
      const { db } = house();
      assert.equal(await db.settings.get('x'), undefined);
      await db.settings.set('x', { a: [1] });
      await db.settings.set('x', null);
      assert.equal(await db.settings.get('x'), null);
      await db.settings.set('x', undefined);
      assert.equal(await db.settings.get('x'), undefined);
    });
  });
}
