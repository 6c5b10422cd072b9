import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { inspect } from 'node:util';
import { CertificateShop } from '../../test/support/certificates.ts';
import { CHANGE, databaseContract, detection, VERSION } from '../../test/support/database-contract.ts';
import {
  hasPostgres,
  type PostgresHouse,
  requirePostgres,
  startPostgres,
} from '../../test/support/postgres.ts';
import { armFaultPoints } from '../base/index.ts';
import type { PostgresConfig } from './postgres-config.ts';
import { openPool } from './postgres-connection.ts';
import { type LeasedDatabase, openPostgresDatabase } from './postgres-database.ts';
import { migratePostgres } from './postgres-migrate.ts';

const TABLES =
  'versions, alias_history, aliases, detections, outbox, access_keys, settings, verdicts, suppressions, event_results';

test('PostgreSQL is installed', (t) => void requirePostgres(t));

describe('PostgreSQL', { skip: hasPostgres() ? false : 'needs PostgreSQL' }, () => {
  let house: PostgresHouse;
  let folder: string;
  let config: PostgresConfig;
  let db: LeasedDatabase;

  const openAt = (at: PostgresConfig, onFenced?: () => void) =>
    openPostgresDatabase({ config: at, wrapsFolder: join(folder, 'wraps'), onFenced });

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pg-test-'));
    house = await startPostgres();
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true, force: true });
  });

  describe('holds the contract of the query sets', () => {
    before(async () => {
      config = await house.makeDatabase();
      db = await openAt(config);
    });
    after(() => db.close());
    beforeEach(async () => {
      await house.edit(config, `TRUNCATE ${TABLES} RESTART IDENTITY CASCADE`);
    });
    afterEach(() => armFaultPoints(undefined));

    databaseContract(() => ({
      db,
      edit: async (sql) => {
        await house.edit(config, sql);
      },
    }));

    test('orders text by its bytes, whatever the language of the database is', async () => {
      for (const id of ['b', 'A', 'a', 'B']) {
        const row = { id, sha256: '', principal: 'p', roles: [], createdAt: 1 };
        await db.accessKeys.addAccessKey(row);
      }
      const ids = (await db.accessKeys.listAccessKeys()).map(({ id }) => id);
      assert.deepEqual(ids, ['A', 'B', 'a', 'b']);
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

  test('goes forward, back and forward again with its rows', async () => {
    const at = await house.makeDatabase();
    let open = await openAt(at);
    await open.versions.insert(VERSION);
    await open.aliases.move(CHANGE);
    await open.detections.insertDetection(detection('a'));
    await assert.rejects(migratePostgres(at, 1), { code: 'storage.writer-leased' });
    await open.close();
    await assert.rejects(migratePostgres(at, 0), { code: 'storage.migration-loses-rows' });
    await migratePostgres(at, 1);
    const indices = "SELECT 1 FROM pg_indexes WHERE indexname = 'access_keys_by_principal'";
    assert.equal((await house.edit(at, indices)).length, 0);
    open = await openAt(at);
    assert.equal((await house.edit(at, indices)).length, 1);
    assert.deepEqual(await open.aliases.history('flow'), [CHANGE]);
    assert.equal((await open.detections.listOutbox()).length, 1);
    const { token } = open.lease;
    await open.close();
    await house.edit(at, `TRUNCATE ${TABLES}`);
    await migratePostgres(at, 0);
    open = await openAt(at);
    assert.deepEqual(await open.versions.list(), []);
    assert.ok(open.lease.token > token, 'the token never falls');
    await open.close();
    await house.edit(at, 'UPDATE guardian_schema SET format = 99');
    await assert.rejects(openAt(at), { code: 'storage.database-newer' });
  });

  test('has one writer, and fences off the one before', async () => {
    const at = await house.makeDatabase();
    let fenced = 0;
    const first = await openAt(at, () => fenced++);
    await assert.rejects(openAt(at), { code: 'storage.writer-leased', retry: true });
    await first.lease.confirm();
    await first.versions.insert(VERSION);
    // As if another had taken over while it was stopped, and had ended.
    await house.edit(at, "UPDATE writer_lease SET token = token + 1, expires = '-infinity'");
    const second = await openAt(at);
    assert.ok(second.lease.token > first.lease.token);
    await assert.rejects(first.aliases.move(CHANGE), { code: 'storage.fenced' });
    await assert.rejects(first.detections.saveDetections([{ activity: 'create', row: detection('a') }]), {
      code: 'storage.fenced',
    });
    const answers = await Promise.allSettled([1, 2, 3].map(() => first.lease.confirm()));
    assert.ok(answers.every(({ status }) => status === 'rejected'));
    assert.equal(fenced, 1);
    assert.equal(first.lease.isFenced, true);
    await Promise.all([1, 2, 3].map(() => second.lease.confirm()));
    await second.aliases.move(CHANGE);
    // What the first gives back is not its own any more.
    await first.close();
    await assert.rejects(openAt(at), { code: 'storage.writer-leased' });
    await second.close();
    await (await openAt(at)).close();
  });

  test('gives the lease back for good, also while it is being renewed', async (t) => {
    const at = await house.makeDatabase();
    t.mock.timers.enable({ apis: ['setInterval'] });
    for (let i = 0; i < 20; i++) {
      const open = await openAt(at);
      // A renewal is under way when it closes.
      t.mock.timers.tick(at.leaseMs / 3 + 1);
      await open.close();
    }
  });

  test('renews the lease while it is open', async (t) => {
    const at = await house.makeDatabase();
    t.mock.timers.enable({ apis: ['setInterval'] });
    const open = await openAt(at);
    await house.edit(at, "UPDATE writer_lease SET expires = '-infinity'");
    t.mock.timers.tick(at.leaseMs / 3 + 1);
    const valid = 'SELECT 1 FROM writer_lease WHERE expires > clock_timestamp()';
    for (let i = 0; i < 100 && (await house.edit(at, valid)).length === 0; i++);
    await assert.rejects(openAt(at), { code: 'storage.writer-leased' });
    await open.close();
  });

  test('lets exactly one of many take the lease', async () => {
    const at = await house.makeDatabase();
    await (await openAt(at)).close();
    const tries = await Promise.allSettled(Array.from({ length: 6 }, () => openAt(at)));
    const won = tries.filter((one) => one.status === 'fulfilled');
    assert.equal(won.length, 1);
    for (const one of tries) {
      if (one.status === 'rejected') assert.equal(one.reason.code, 'storage.writer-leased');
    }
    for (const one of won) await one.value.close();
  });

  test('refuses a wrong password and an exposed file, and repeats no secret', async () => {
    const passwordFile = join(folder, 'wrong');
    writeFileSync(passwordFile, 'wrong-canary-77', { mode: 0o600 });
    const wrong = { ...house.config, passwordFile };
    const tell = async (at: PostgresConfig) =>
      openAt(at).then(
        () => assert.fail('opened'),
        (error: unknown) => ({ code: (error as { code: string }).code, text: inspect(error, { depth: 9 }) }),
      );
    const refused = await tell(wrong);
    assert.equal(refused.code, 'storage.database-refused');
    chmodSync(passwordFile, 0o644);
    const exposed = await tell(wrong);
    assert.equal(exposed.code, 'storage.password-unsafe');
    const none = await tell({ ...wrong, passwordFile: null });
    for (const { text } of [refused, exposed, none]) {
      assert.doesNotMatch(text, /canary/);
      assert.ok(!text.includes(house.password));
    }
  });

  test('goes on after its connections were ended', async () => {
    const at = await house.makeDatabase();
    const open = await openAt(at);
    await open.versions.insert(VERSION);
    const others =
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()';
    await house.edit(at, `${others} AND pid <> pg_backend_pid()`);
    const codes = new Set<string>();
    let rows: readonly unknown[] | undefined;
    for (let i = 0; i < 20 && rows === undefined; i++) {
      rows = await open.versions.list().catch((error: unknown) => {
        codes.add((error as { code: string }).code);
        return undefined;
      });
    }
    assert.equal(rows?.length, 1);
    assert.deepEqual(
      [...codes].filter((code) => code !== 'storage.database-unreachable'),
      [],
    );
    await open.aliases.move(CHANGE);
    await open.lease.confirm();
    await open.close();
  });

  test('outlives the end of a connection between two queries', async () => {
    const pool = await openPool(house.config);
    const client = await pool.connect();
    // What pg emits then; without a listener it would end the process.
    client.emit('error', new Error('terminating connection'));
    client.release(true);
    await pool.end();
  });

  test('says that nobody answers, and demands TLS of another host', async () => {
    const nobody = { ...house.config, url: 'postgresql://u@127.0.0.1:1/d' };
    await assert.rejects(openAt(nobody), { code: 'storage.database-unreachable', retry: true });
    // A name of this machine that the rule does not know as such; the server there has no TLS.
    const elsewhere = {
      ...house.config,
      url: `postgresql://guardian@[::ffff:127.0.0.1]:${house.port}/postgres`,
    };
    await assert.rejects(openAt(elsewhere), { code: 'storage.database-unreachable' });
  });

  describe('over TLS', () => {
    let shop: CertificateShop;
    let secure: PostgresHouse;
    let trusted: string;

    before(async () => {
      shop = new CertificateShop();
      const authority = shop.authority('Test authority');
      trusted = authority.certFile;
      const server = shop.issue(authority, {
        names: ['db'],
        usage: 'serverAuth',
        alternative: 'IP:::ffff:127.0.0.1,DNS:localhost',
      });
      secure = await startPostgres([], server);
    });
    after(async () => {
      await secure.close();
      shop.close();
    });

    const at = (host: string, caFile: string | null): PostgresConfig => ({
      ...secure.config,
      url: `postgresql://guardian@${host}:${secure.port}/postgres`,
      caFile,
    });

    test('connects where the authority is trusted and the name is the one of the certificate', async () => {
      for (const host of ['[::ffff:127.0.0.1]', 'localhost']) {
        const open = await openAt(at(host, trusted));
        const rows = await secure.edit(
          secure.config,
          "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'ai-guardian'",
        );
        assert.ok(rows.length > 0 && rows.every(({ ssl }) => ssl === true));
        await open.close();
      }
    });

    const refused: readonly (readonly [string, () => PostgresConfig])[] = [
      ['an authority that is not trusted', () => at('[::ffff:127.0.0.1]', null)],
      ['another name', () => at('127.0.0.1', trusted)],
    ];
    for (const [what, config] of refused) {
      test(`refuses ${what}`, async () => {
        await assert.rejects(openAt(config()), { code: 'storage.database-refused', category: 'security' });
      });
    }
  });
});
