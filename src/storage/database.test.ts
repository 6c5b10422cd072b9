import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { armFaultPoints } from '../base/index.ts';
import { type Database, openDatabase } from './database.ts';
import type { DetectionRow } from './detections.ts';
import type { VersionRow } from './versions.ts';

let folder: string;
let path: string;
let db: Database;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'db-'));
  path = join(folder, 'guardian.db');
  db = await openDatabase(path);
});

afterEach(async () => {
  armFaultPoints(undefined);
  await db.close();
  rmSync(folder, { recursive: true, force: true });
});

const VERSION: VersionRow = {
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
const CHANGE = {
  name: 'flow',
  alias: 'champion',
  version: '1.0.0',
  intent: 5,
  action: 'promote' as const,
  principal: 'ada',
  changedAt: '2026-01-01T00:00:00.000Z',
  approvals: ['ada'],
};

function detection(uid: string, over: Partial<DetectionRow> = {}): DetectionRow {
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

/** Edits the file the way an intruder would, past the query sets. */
function edit(sql: string): void {
  const raw = new DatabaseSync(path);
  raw.exec(sql);
  raw.close();
}

describe('database file', () => {
  test('is private, in WAL mode, and keeps its rows across a restart', async () => {
    await db.versions.insert(VERSION);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await db.close();
    db = await openDatabase(path);
    assert.deepEqual(await db.versions.find('flow', '1.0.0'), VERSION);
    const raw = new DatabaseSync(path, { readOnly: true });
    assert.equal(raw.prepare('PRAGMA journal_mode').get()?.journal_mode, 'wal');
    assert.equal(raw.prepare('PRAGMA user_version').get()?.user_version, 3);
    raw.close();
  });

  test('refuses a database of a newer version', async () => {
    edit('PRAGMA user_version = 99');
    await db.close();
    await assert.rejects(openDatabase(path), { code: 'storage.database-newer' });
  });

  test('refuses a file that is no database', async () => {
    const other = join(folder, 'other.db');
    writeFileSync(other, 'this is text and long enough to be looked at as a header of a page');
    await assert.rejects(openDatabase(other), { code: 'storage.database-failed' });
    await assert.rejects(openDatabase(join(folder, 'guardian.db', 'x')));
  });

  test('rolls a write back when it is cut short before its commit', async () => {
    armFaultPoints((name) => {
      if (name === 'storage.database.before-commit') throw new TypeError('cut');
    });
    await assert.rejects(db.versions.insert(VERSION), TypeError);
    armFaultPoints(undefined);
    assert.equal(await db.versions.find('flow', '1.0.0'), undefined);
    await db.versions.insert(VERSION);
  });
});

describe('versions and aliases', () => {
  test('lists versions in order of publication and refuses a second of the same name', async () => {
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
    await assert.rejects(db.aliases.move(CHANGE), { code: 'storage.row-missing' });
    assert.deepEqual(await db.aliases.history('flow'), []);
  });

  test('names a row that was edited into another shape', async () => {
    await db.versions.insert(VERSION);
    edit("UPDATE versions SET source_kinds = '{'");
    await assert.rejects(db.versions.find('flow', '1.0.0'), {
      code: 'storage.row-malformed',
      category: 'security',
    });
    edit("UPDATE versions SET source_kinds = '{}'");
    await assert.rejects(db.versions.list(), { code: 'storage.row-malformed' });
  });
});

describe('wraps', () => {
  const WRAPS = {
    v: 1 as const,
    dataKeyId: 'dk-1',
    wraps: [{ keyId: 'k1', recipient: 'store' as const, wrapped: Buffer.alloc(40, 7).toString('base64') }],
  };

  test('live in files of their own, outside the database', async () => {
    await db.wraps.put(WRAPS);
    assert.deepEqual(await db.wraps.get('dk-1'), WRAPS);
    assert.deepEqual(await db.wraps.list(), ['dk-1']);
    assert.equal(statSync(join(folder, 'wraps', 'dk-1.json')).mode & 0o777, 0o600);
    await db.wraps.delete('dk-1');
    assert.equal(await db.wraps.has('dk-1'), false);
    await assert.rejects(db.wraps.get('dk-1'), { code: 'storage.wraps-missing', category: 'security' });
  });

  test('refuse a name that leads elsewhere', async () => {
    await assert.rejects(db.wraps.get('../guardian'), { code: 'storage.name-invalid' });
    await assert.rejects(db.wraps.put({ ...WRAPS, dataKeyId: 'A' }), { code: 'storage.name-invalid' });
  });

  test('refuse a file that stands in for another', async () => {
    await db.wraps.put(WRAPS);
    copyFileSync(join(folder, 'wraps', 'dk-1.json'), join(folder, 'wraps', 'dk-2.json'));
    await assert.rejects(db.wraps.get('dk-2'), { code: 'storage.wraps-malformed' });
  });

  test('refuse white space, cut text and other versions', async () => {
    await db.wraps.put(WRAPS);
    const file = join(folder, 'wraps', 'dk-1.json');
    for (const text of [JSON.stringify(WRAPS, null, 1), '{', '[]', JSON.stringify({ ...WRAPS, v: 2 })]) {
      writeFileSync(file, text);
      await assert.rejects(db.wraps.get('dk-1'), { code: 'storage.wraps-malformed', category: 'security' });
    }
  });
});

describe('detections', () => {
  test('are found by time, kind and source, newest first', async () => {
    await db.detections.insertDetection(detection('a'));
    await db.detections.insertDetection(detection('b', { time: 2000.7, kind: 'syn-flood' }));
    await db.detections.insertDetection(detection('c', { time: 3000, source: '10.0.0.2' }));
    const uids = async (options = {}) => (await db.detections.listDetections(options)).map((row) => row.uid);
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
    const source = `'; DROP TABLE detections; --`;
    await db.detections.insertDetection(detection('a', { source, detection: { name: '\u0000"\u2028' } }));
    const [row] = await db.detections.listDetections({ source });
    assert.deepEqual(row?.detection, { name: '\u0000"\u2028' });
  });

  test('keep at most one waiting notice for each activity, with the latest state', async () => {
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

  test('refuse a second insert and an update of none, and write nothing of a batch that fails', async () => {
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

describe('access keys and settings', () => {
  test('an access key is added, found, listed and revoked once', async () => {
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
    assert.equal(await db.settings.get('x'), undefined);
    await db.settings.set('x', { a: [1] });
    await db.settings.set('x', null);
    assert.equal(await db.settings.get('x'), null);
    await db.settings.set('x', undefined);
    assert.equal(await db.settings.get('x'), undefined);
  });
});
