import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardian, makeHome } from '../support/cli.ts';
import { requirePostgres, startPostgres } from '../support/postgres.ts';

test('commands keep their metadata in the configured PostgreSQL, and tell no password', async (t) => {
  if (!requirePostgres(t)) return;
  const home = await makeHome();
  const postgres = await startPostgres();
  try {
    const { url, passwordFile } = await postgres.makeDatabase();
    const shared = join(home.folder, 'shared');
    const environment = {
      GUARDIAN_STORAGE_DATABASE: 'postgres',
      GUARDIAN_STORAGE_POSTGRES_URL: url ?? '',
      GUARDIAN_STORAGE_POSTGRES_PASSWORD_FILE: passwordFile ?? '',
      GUARDIAN_STORAGE_SHARED_FOLDER: shared,
    };
    const run = (args: readonly string[], more = {}) =>
      guardian(home, args, { environment: { ...environment, ...more } });
    const told: string[] = [];
    for (const args of [
      ['access', 'add', 'ada', '--role', 'viewer', '--json'],
      ['access', 'list', '--json'],
      ['audit', 'verify', '--json'],
      ['config', 'show', '--json'],
    ]) {
      const { exitCode, stdout, stderr } = await run(args);
      assert.equal(exitCode, 0, `${args.join(' ')}: ${stderr}`);
      told.push(stdout, stderr);
    }
    assert.match(told[2] ?? '', /ada/);

    // The other server is another state folder beside the same shared one.
    const elsewhere = { XDG_STATE_HOME: join(home.folder, 'other') };
    assert.match((await run(['access', 'list', '--json'], elsewhere)).stdout, /ada/);
    const wrong = join(home.folder, 'wrong');
    mkdirSync(home.folder, { recursive: true });
    writeFileSync(wrong, 'canary-of-a-password', { mode: 0o600 });
    const refused = await run(['access', 'list'], { GUARDIAN_STORAGE_POSTGRES_PASSWORD_FILE: wrong });
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stderr, /storage\.database-refused/);
    told.push(refused.stdout, refused.stderr);
    const inUrl = await run(['config', 'show'], {
      GUARDIAN_STORAGE_POSTGRES_URL: 'postgresql://ada:canary-of-a-password@localhost/d',
    });
    assert.equal(inUrl.exitCode, 2);
    told.push(inUrl.stdout, inUrl.stderr);
    for (const text of told) {
      assert.ok(!text.includes(postgres.password));
      assert.doesNotMatch(text, /canary/);
    }
    const without = await run(['config', 'show'], { GUARDIAN_STORAGE_DATABASE: 'sqlite' });
    assert.equal(without.exitCode, 2);
  } finally {
    await postgres.close();
    await home.remove();
  }
});
