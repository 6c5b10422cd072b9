import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { guardian, type Home, makeHome } from '../support/cli.ts';
import { toolPath } from '../support/requires.ts';
import { makeSoftHsm, requireSoftHsm, type SoftHsm } from '../support/softhsm.ts';

let home: Home;
let hsm: SoftHsm;

interface ListedKey {
  readonly id: string;
  readonly purpose: string;
  readonly state: string;
}

async function keysOf(...options: string[]): Promise<{ kind: unknown; keys: readonly ListedKey[] }> {
  const { objects, exitCode, stderr } = await guardian(home, ['keys', 'list', '--json', ...options]);
  assert.equal(exitCode, 0, stderr);
  return objects.at(-1) as { kind: unknown; keys: readonly ListedKey[] };
}

suite('guardian keys', () => {
  before(async () => {
    home = await makeHome();
    if (toolPath('softhsm2-util') !== undefined) hsm = await makeSoftHsm();
  });
  after(async () => {
    await home.remove();
    hsm?.remove();
  });

  test('makes a token, its PIN in a file of mode 600 and nowhere else, and keys in it; twice does no harm', async (t) => {
    if (!requireSoftHsm(t)) return;
    const uri = 'pkcs11:token=by-hand';
    const environment = { SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? '' };
    const made = await guardian(home, ['keys', 'init', '--keys', uri], { environment });
    assert.equal(made.exitCode, 0, made.stderr);
    const pinPath = join(home.folder, 'config', 'ai-guardian', 'hsm.pin');
    const pin = (await readFile(pinPath, 'utf8')).trim();
    for (const path of [pinPath, `${pinPath}.officer`]) assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.ok(pin.length >= 32);
    assert.ok(!made.stdout.includes(pin) && !made.stderr.includes(pin));
    const before = await keysOf('--keys', uri);
    assert.equal(before.kind, 'pkcs11');
    assert.equal((await guardian(home, ['keys', 'init', '--keys', uri], { environment })).exitCode, 0);
    assert.deepEqual(await keysOf('--keys', uri), before);
  });

  test('takes the key store from the configuration, and refuses a PIN in it without repeating it', async (t) => {
    if (!requireSoftHsm(t)) return;
    const file = join(home.folder, 'guardian.yaml');
    await writeFile(file, 'keys:\n  uri: "pkcs11:token=by-hand"\n');
    assert.equal((await keysOf('--config', file)).keys.length, 4);
    await writeFile(file, 'keys:\n  uri: "pkcs11:token=by-hand?pin-value=canary-1234"\n');
    const refused = await guardian(home, ['keys', 'list', '--config', file]);
    assert.equal(refused.exitCode, 2);
    assert.match(refused.stderr, /pin-value is refused/);
    assert.ok(!refused.stderr.includes('canary'));
  });

  test('rotates and revokes, by the file as by a token', async (t) => {
    const stores = [['--state', join(home.folder, 'file-state')]];
    if (requireSoftHsm(t)) stores.push(['--keys', 'pkcs11:token=by-hand']);
    for (const store of stores) {
      const before = (await keysOf(...store)).keys;
      const old = before.find(({ purpose }) => purpose === 'wrapping');
      const rotated = await guardian(home, ['keys', 'rotate', '--purpose', 'wrapping', '--json', ...store]);
      assert.equal(rotated.exitCode, 0, rotated.stderr);
      assert.equal(rotated.objects.at(-1)?.previous, old?.id);
      const revoked = await guardian(home, ['keys', 'revoke', old?.id ?? '', ...store]);
      assert.equal(revoked.exitCode, 0, revoked.stderr);
      const states = (await keysOf(...store)).keys.filter(({ purpose }) => purpose === 'wrapping');
      assert.deepEqual(
        states.map(({ state }) => state),
        ['revoked', 'active'],
      );
      assert.equal((await guardian(home, ['keys', 'revoke', 'nobody', ...store])).exitCode, 2);
      assert.equal((await guardian(home, ['audit', 'verify', ...store])).exitCode, 0);
    }
  });

  test('prints the public keys of a purpose as others trust them, and leaves out a revoked one', async () => {
    const other = await makeHome();
    const run = (...args: string[]) => guardian(other, ['keys', ...args]);
    const pem = async (purpose: string) => (await run('list', '--pem', purpose)).stdout;
    const first = await pem('model-signing');
    assert.equal(createPublicKey(first).asymmetricKeyType, 'ec');
    await run('rotate', '--purpose', 'model-signing');
    assert.equal((await pem('model-signing')).match(/BEGIN PUBLIC KEY/g)?.length, 2);
    const { objects } = await run('list', '--json');
    const { keys } = objects.at(-1) as { keys: readonly ListedKey[] };
    const retired = keys.find(({ purpose, state }) => purpose === 'model-signing' && state === 'retired');
    assert.equal((await run('revoke', retired?.id ?? '')).exitCode, 0);
    const left = await pem('model-signing');
    assert.equal(left.match(/BEGIN PUBLIC KEY/g)?.length, 1);
    assert.ok(!left.includes(first.trim()));
    assert.equal((await run('list', '--pem', 'wrapping')).exitCode, 2);
    await other.remove();
  });
});
