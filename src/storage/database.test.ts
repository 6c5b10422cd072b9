import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { CHANGE, databaseContract, detection, VERSION } from '../../test/support/database-contract.ts';
import { armFaultPoints } from '../base/index.ts';
import { type Database, openDatabase } from './database.ts';
import { migrateSqlite } from './sqlite-connection.ts';

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
    assert.equal(raw.prepare('PRAGMA user_version').get()?.user_version, 5);
    raw.close();
  });

  test('refuses a database of a newer version', async () => {
    edit('PRAGMA user_version = 99');
    await db.close();
    await assert.rejects(openDatabase(path), { code: 'storage.database-newer' });
  });

  test('goes forward, back and forward again with its rows', async () => {
    await db.versions.insert(VERSION);
    await db.aliases.move(CHANGE);
    await db.detections.insertDetection(detection('a'));
    await db.close();
    const indices = () => {
      const raw = new DatabaseSync(path, { readOnly: true });
      const found = raw.prepare("SELECT name FROM sqlite_master WHERE name LIKE 'access_keys_by%'").all();
      raw.close();
      return found.length;
    };
    assert.equal(indices(), 1);
    assert.throws(() => migrateSqlite(path, 0), { code: 'storage.migration-loses-rows' });
    migrateSqlite(path, 1);
    assert.equal(indices(), 0);
    db = await openDatabase(path);
    assert.equal(indices(), 1);
    assert.deepEqual(await db.aliases.history('flow'), [CHANGE]);
    assert.equal((await db.detections.listOutbox()).length, 1);
    await db.close();
    edit('DELETE FROM aliases; DELETE FROM alias_history; DELETE FROM versions; DELETE FROM detections');
    edit('DELETE FROM outbox');
    migrateSqlite(path, 0);
    db = await openDatabase(path);
    assert.deepEqual(await db.versions.list(), []);
  });

  test('answers reads and writes that were asked at once, each in its turn', async () => {
    const writes = Array.from({ length: 20 }, (_, i) => db.settings.set('n', i));
    const reads = Array.from({ length: 20 }, () => db.settings.get('n'));
    await Promise.all([...writes, ...reads]);
    assert.equal(await db.settings.get('n'), 19);
    await db.close();
    await assert.rejects(db.settings.get('n'), { code: 'storage.database-failed' });
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

databaseContract(() => ({ db, edit }));
