import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { canonicalJson, sha256Hex } from '../crypto/index.ts';
import { SIGNED_FILES } from './manifest.ts';
import { signStatement } from './oms.ts';
import { type Evidence, verifyModel } from './verify.ts';

const ADA = { principal: 'ada' };
const SECURITY = { category: 'security' };

let folder: string;
let house: House;
let database: string;
let olderDatabase: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tamper-'));
  database = join(folder, 'state', 'guardian.db');
  olderDatabase = join(folder, 'older.db');
  house = await openHouse(folder);
  await house.registry.publish(makeCandidate({ seed: 1 }), ADA);
  await house.registry.publish(makeCandidate({ seed: 2 }), ADA);
  await house.registry.promote('flow', '1.0.0', 'champion', ADA);
  await house.close();
  copyFileSync(database, olderDatabase);
  house = await openHouse(folder);
  await house.registry.promote('flow', '1.1.0', 'champion', ADA);
});

after(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

function blobPath(name: string, version = '1.1.0'): string {
  return join(folder, 'state', 'blobs', 'models', 'flow', version, name);
}

function flip(bytes: Uint8Array, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
  return changed;
}

/** The file holds other bytes while `work` runs. */
async function withFile(path: string, bytes: Uint8Array | string, work: () => Promise<void>): Promise<void> {
  const original = readFileSync(path);
  writeFileSync(path, bytes);
  try {
    await work();
  } finally {
    writeFileSync(path, original);
  }
}

/** Verification refuses with a security error, and with that code where one is named. */
async function refused(what: string, code?: string, reference = 'flow'): Promise<void> {
  const expected = code === undefined ? SECURITY : { ...SECURITY, code };
  await assert.rejects(house.registry.verify(reference), expected, what);
}

describe('a stored model', () => {
  test('verifies before anything is touched', async () => {
    assert.equal((await house.registry.verify('flow')).version, '1.1.0');
  });

  for (const part of ['signature', 'manifest', 'gates', 'schema', 'weights'] as const) {
    test(`is refused after a flipped bit at any byte of its ${part}`, async () => {
      const files = {
        signature: readFileSync(blobPath('model.sig')),
        manifest: readFileSync(blobPath('manifest.json')),
        gates: readFileSync(blobPath('gates.json')),
        schema: readFileSync(blobPath('schema.json')),
        weights: readFileSync(blobPath('model.agm.sealed')),
      };
      const row = await house.db.versions.find('flow', '1.1.0');
      const wraps = await house.db.wraps.get(row?.dataKeyId ?? '');
      const { publicKeyPem = '' } = await house.keys.active('model-signing');
      const trusted = [{ publicKeyPem }];
      const evidenceOf = (held: typeof files): Evidence => ({
        ...held,
        weights: { kind: 'sealed', blob: held.weights, keys: house.keys, wraps: async () => wraps },
        trusted,
      });
      await verifyModel(evidenceOf(files));
      // The weights' tag covers every byte alike: their head, their end and every seventh between are enough.
      const all = files[part].length;
      for (let at = 0; at < all; at += part === 'weights' && at > 64 && at < all - 32 ? 7 : 1) {
        const changed = evidenceOf({ ...files, [part]: flip(files[part], at) });
        await assert.rejects(verifyModel(changed), SECURITY, `byte ${at}`);
      }
    });
  }

  const FILES = {
    'model.agm.sealed': 'registry.weights-tampered',
    'manifest.json': 'registry.file-tampered',
    'gates.json': 'registry.file-tampered',
    'schema.json': 'registry.file-tampered',
    'model.sig': undefined,
  } as const;
  for (const [name, code] of Object.entries(FILES)) {
    test(`is refused on every way in when ${name} changes, is cut, swapped, gone or a link`, async () => {
      const path = blobPath(name);
      const bytes = readFileSync(path);
      await withFile(path, flip(bytes, bytes.length >> 1), async () => {
        await refused('flipped', code);
        const expected = code === undefined ? SECURITY : { ...SECURITY, code };
        await assert.rejects(house.registry.promote('flow', '1.1.0', 'shadow', ADA), expected);
        await assert.rejects(house.registry.exportTo('flow', join(folder, 'never')), expected);
        await assert.rejects(house.registry.show('flow'), expected);
      });
      await withFile(path, bytes.subarray(0, -1), () => refused('cut'));
      await withFile(path, '', () => refused('empty'));
      const other = readFileSync(blobPath(name, '1.0.0'));
      if (!other.equals(bytes)) await withFile(path, other, () => refused('of another version'));
      rmSync(path);
      await refused('gone', 'registry.file-tampered');
      symlinkSync(blobPath(name, '1.0.0'), path);
      await refused('a link', 'storage.blob-not-plain');
      rmSync(path);
      writeFileSync(path, bytes);
      await house.registry.verify('flow');
    });
  }

  test('is refused when all of its files are those of another version', async () => {
    const names = Object.keys(FILES);
    const originals = names.map((name) => readFileSync(blobPath(name)));
    for (const name of names) copyFileSync(blobPath(name, '1.0.0'), blobPath(name));
    await refused('swapped', 'registry.manifest-mismatch');
    for (const [i, name] of names.entries()) writeFileSync(blobPath(name), originals[i] ?? '');
    await house.registry.verify('flow');
  });
});

describe('the manifest', () => {
  const CHANGES: Readonly<Record<string, (manifest: Record<string, unknown>) => void>> = {
    v: (m) => Object.assign(m, { v: 2 }),
    name: (m) => Object.assign(m, { name: 'flox' }),
    version: (m) => Object.assign(m, { version: '1.1.1' }),
    'weights.digest': (m) => Object.assign(m.weights as object, { digest: `sha256:${'0'.repeat(64)}` }),
    'weights.size': (m) => Object.assign(m.weights as object, { size: 1 }),
    schemaId: (m) => Object.assign(m, { schemaId: `sha256:${'0'.repeat(64)}` }),
    sourceKinds: (m) => Object.assign(m, { sourceKinds: ['zeek'] }),
    dataDigest: (m) => Object.assign(m, { dataDigest: `sha256:${'0'.repeat(64)}` }),
    configuration: (m) => Object.assign(m, { configuration: { rounds: 4 } }),
    seed: (m) => Object.assign(m, { seed: 3 }),
    trainer: (m) => Object.assign(m, { trainer: 'fixturf' }),
    gateReportDigest: (m) => Object.assign(m, { gateReportDigest: `sha256:${'0'.repeat(64)}` }),
    createdAt: (m) => Object.assign(m, { createdAt: '2026-01-01T00:00:00.001Z' }),
    author: (m) => Object.assign(m, { author: 'adb' }),
    'an added field': (m) => Object.assign(m, { extra: true }),
    'a missing field': (m) => {
      delete m.seed;
    },
  };

  test('has a row here for each of its fields', () => {
    const fields = Object.keys(JSON.parse(readFileSync(blobPath('manifest.json'), 'utf8')));
    const covered = new Set(Object.keys(CHANGES).map((field) => field.split('.')[0]));
    for (const field of fields) assert.ok(covered.has(field), field);
  });

  for (const [field, change] of Object.entries(CHANGES)) {
    test(`with another value in: ${field}, is refused, even where the model key signed it anew`, async () => {
      const path = blobPath('manifest.json');
      const manifest = JSON.parse(readFileSync(path, 'utf8'));
      change(manifest);
      const text = canonicalJson(manifest);
      await withFile(path, text, async () => {
        await refused('unsigned', 'registry.file-tampered');
        await withFile(blobPath('model.sig'), await signAnew({ manifest: text }), () =>
          refused('signed anew', 'registry.manifest-mismatch'),
        );
      });
    });
  }

  test('signed anew with a gate report that passes is refused', async () => {
    const gates = JSON.parse(readFileSync(blobPath('gates.json'), 'utf8'));
    gates.gates[0].threshold = 0.1;
    const text = canonicalJson(gates);
    await withFile(blobPath('gates.json'), text, async () => {
      await withFile(blobPath('model.sig'), await signAnew({ gates: text }), () =>
        refused('signed anew', 'registry.manifest-mismatch'),
      );
    });
  });

  test('signed by a key that is not the store’s is refused', async () => {
    const other = await openHouse(join(folder, 'other'));
    try {
      await withFile(blobPath('model.sig'), await signAnew({}, other), () =>
        refused('foreign', 'registry.signer-untrusted'),
      );
    } finally {
      await other.close();
    }
  });
});

/** The bundle that whoever holds a model-signing key could make for the stored files, some of them replaced. */
async function signAnew(
  texts: { manifest?: string; gates?: string },
  signer: House = house,
): Promise<Uint8Array> {
  const key = await signer.keys.active('model-signing');
  const digests = new Map([
    [SIGNED_FILES.weights, sha256Hex(makeCandidate({ seed: 2 }).modelBytes)],
    [SIGNED_FILES.manifest, sha256Hex(texts.manifest ?? readFileSync(blobPath('manifest.json')))],
    [SIGNED_FILES.gates, sha256Hex(texts.gates ?? readFileSync(blobPath('gates.json')))],
    [SIGNED_FILES.schema, sha256Hex(readFileSync(blobPath('schema.json')))],
  ]);
  return await signStatement(
    { modelName: 'flow@1.1.0', digests },
    { publicKeyPem: key.publicKeyPem ?? '', sign: (message) => signer.keys.sign(key.id, message) },
  );
}

describe('the wraps of a data key', () => {
  test('are refused after a flipped bit at any of their bytes, or when they are gone', async () => {
    const row = await house.db.versions.find('flow', '1.1.0');
    const path = join(folder, 'state', 'wraps', `${row?.dataKeyId}.json`);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at++) {
      writeFileSync(path, flip(bytes, at));
      await refused(`byte ${at}`, 'registry.wraps-tampered');
    }
    rmSync(path);
    await refused('gone', 'registry.wraps-tampered');
    writeFileSync(path, bytes);
    await house.registry.verify('flow');
  });

  test('of another version do not open the weights', async () => {
    const [first, second] = await house.db.versions.list('flow');
    const path = join(folder, 'state', 'wraps', `${second?.dataKeyId}.json`);
    const wraps = await house.db.wraps.get(first?.dataKeyId ?? '');
    const text = canonicalJson({ ...wraps, dataKeyId: second?.dataKeyId });
    await withFile(path, text, () => refused('swapped', 'registry.weights-tampered'));
  });
});

/** Runs SQL past the query sets, the way an intruder would, and undoes it afterwards. */
async function withSql(sql: string, work: () => Promise<void>): Promise<void> {
  const raw = new DatabaseSync(database, { enableForeignKeyConstraints: false });
  const tables = ['versions', 'aliases', 'alias_history'];
  try {
    raw.exec(tables.map((table) => `CREATE TABLE kept_${table} AS SELECT * FROM ${table}`).join(';'));
    raw.exec(sql);
    await work();
  } finally {
    for (const table of tables) {
      raw.exec(
        `DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM kept_${table}; DROP TABLE kept_${table}`,
      );
    }
    raw.close();
  }
}

describe('the database', () => {
  const POINTERS: Readonly<Record<string, string>> = {
    'the pointer moved to another version': `UPDATE aliases SET version = '1.0.0'`,
    'the pointer moved to a version that does not exist': `UPDATE aliases SET version = '1.1.1'`,
    'the pointer with another intent': 'UPDATE aliases SET intent = intent + 1',
    'the pointer rolled back to its earlier intent': `UPDATE aliases SET version = '1.0.0', intent = (SELECT MIN(intent) FROM alias_history)`,
    'the pointer removed': 'DELETE FROM aliases',
  };
  for (const [title, sql] of Object.entries(POINTERS)) {
    test(`is refused with ${title}`, async () => {
      await withSql(sql, async () => {
        const expected = { ...SECURITY, code: 'registry.pointer-not-in-log' };
        await assert.rejects(house.registry.resolve('flow'), expected);
        await refused(title, 'registry.pointer-not-in-log');
      });
      assert.equal((await house.registry.resolve('flow')).version, '1.1.0');
    });
  }

  test('cannot make up an alias', async () => {
    const sql = `INSERT INTO aliases SELECT name, 'shadow', version, intent FROM aliases`;
    await withSql(sql, () => refused('made up', 'registry.pointer-not-in-log', 'flow@shadow'));
  });

  const COLUMNS: Readonly<Record<string, string>> = {
    digest: `'sha256:${'0'.repeat(64)}'`,
    schema_id: `'sha256:${'0'.repeat(64)}'`,
    source_kinds: `'["zeek"]'`,
    gates_passed: '0',
    data_key_id: `'dk-0'`,
    intent: '99',
    created_at: `'2020-01-01T00:00:00Z'`,
    author: `'eve'`,
    version: `'1.1.1'`,
    name: `'flox'`,
  };
  for (const [column, value] of Object.entries(COLUMNS)) {
    test(`is refused with another ${column} in the row of a version`, async () => {
      await withSql(`UPDATE versions SET ${column} = ${value} WHERE version = '1.1.0'`, async () => {
        await refused(column, 'registry.version-not-in-log');
        const list = await house.registry.list();
        assert.equal(list.filter((each) => !each.isInLog).length, 1);
      });
    });
  }

  test('is refused with a version whose row is gone', async () => {
    await withSql(`DELETE FROM versions WHERE version = '1.1.0'`, () =>
      refused('gone', 'registry.version-not-in-log'),
    );
  });

  const HISTORY: Readonly<Record<string, string>> = {
    version: `UPDATE alias_history SET version = '1.1.0'`,
    previous: 'UPDATE alias_history SET previous = NULL',
    action: `UPDATE alias_history SET action = 'rollback'`,
    principal: `UPDATE alias_history SET principal = 'eve'`,
    approvals: `UPDATE alias_history SET approvals = '["ada","bob"]'`,
    alias: `UPDATE alias_history SET alias = 'shadow'`,
    intent: 'UPDATE alias_history SET intent = intent + 1000',
    row: 'DELETE FROM alias_history WHERE intent = (SELECT MIN(intent) FROM alias_history)',
  };
  for (const [what, sql] of Object.entries(HISTORY)) {
    test(`is refused with another ${what} in the history of an alias`, async () => {
      await withSql(sql, async () => {
        await assert.rejects(house.registry.history('flow'), {
          ...SECURITY,
          code: 'registry.pointer-not-in-log',
        });
      });
    });
  }

  test('put back whole from an older copy is refused after a restart, and no file is lost', async () => {
    await house.close();
    const newer = join(folder, 'newer.db');
    copyFileSync(database, newer);
    copyFileSync(olderDatabase, database);
    house = await openHouse(folder);
    await refused('older', 'registry.pointer-not-in-log');
    await house.close();
    copyFileSync(newer, database);
    house = await openHouse(folder);
    assert.equal((await house.registry.verify('flow')).version, '1.1.0');
  });

  test('that lost the rows of published versions makes recovery remove none of their files', async () => {
    const before = await house.blobs.list('');
    await house.close();
    const newer = join(folder, 'newer.db');
    copyFileSync(database, newer);
    rmSync(database);
    house = await openHouse(folder);
    assert.deepEqual(await house.blobs.list(''), before);
    await refused('empty', 'registry.pointer-not-in-log');
    await house.close();
    copyFileSync(newer, database);
    house = await openHouse(folder);
    await house.registry.verify('flow');
  });
});

describe('the audit log', () => {
  test('with a flipped byte opens no registry', async () => {
    await house.close();
    const path = join(folder, 'state', 'audit', 'checkpoint');
    const bytes = readFileSync(path);
    writeFileSync(path, flip(bytes, bytes.length >> 1));
    await assert.rejects(openHouse(folder), SECURITY);
    writeFileSync(path, bytes);
    house = await openHouse(folder);
    assert.equal((await house.registry.verify('flow')).version, '1.1.0');
  });
});
