import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { CertificateShop } from '../../test/support/certificates.ts';
import { guardian, makeHome } from '../../test/support/cli.ts';

/** Serves until it listens, and ends. */
const serve = (home: Awaited<ReturnType<typeof makeHome>>, environment: Record<string, string> = {}) =>
  guardian(home, ['serve', '--port', '0'], { signal: AbortSignal.abort(), environment });

suite('guardian serve', () => {
  test('names the file of the admin key while it is there and its key is good, and not after', async () => {
    const home = await makeHome();
    const first = await serve(home);
    const file = /an admin key was made for you: (\S+)/.exec(first.stdout)?.[1] ?? '';
    assert.match(first.stdout, /\$\(cat /);
    const again = await serve(home);
    assert.match(again.stdout, /\$\(cat /);
    assert.doesNotMatch(again.stdout, /was made for you/);

    const { objects } = await guardian(home, ['access', 'list', '--json']);
    const { keys } = objects.at(-1) as unknown as { keys: readonly { id: string }[] };
    assert.equal((await guardian(home, ['access', 'revoke', keys[0]?.id ?? ''])).exitCode, 0);
    assert.doesNotMatch((await serve(home)).stdout, /cat |was made for you/, 'revoked');
    writeFileSync(file, 'no key at all');
    assert.doesNotMatch((await serve(home)).stdout, /cat /);
    rmSync(file);
    const removed = await serve(home);
    assert.doesNotMatch(removed.stdout, /cat |was made for you/);
    assert.match(removed.stdout, /guardian access add/);
    await home.remove();
  });

  test('serves HTTPS where TLS is configured, and refuses other addresses without it', async () => {
    const home = await makeHome();
    const shop = new CertificateShop();
    const { certFile, keyFile } = shop.issue(undefined, { names: ['guardian.test'], usage: 'serverAuth' });
    const open = await guardian(home, ['serve'], { environment: { GUARDIAN_SERVER_HOST: '0.0.0.0' } });
    assert.equal(open.exitCode, 1);
    assert.match(open.stderr, /server\.tls-required/);
    const environment = { GUARDIAN_SERVER_TLS_CERT_FILE: certFile, GUARDIAN_SERVER_TLS_KEY_FILE: keyFile };
    assert.match((await serve(home, environment)).stdout, /serving https:\/\//);
    shop.close();
    await home.remove();
  });

  test('serves gRPC beside HTTP where a port is given for it, and only there', async () => {
    const home = await makeHome();
    assert.doesNotMatch((await serve(home)).stdout, /gRPC/);
    const both = await serve(home, { GUARDIAN_SERVER_GRPC_PORT: '0' });
    assert.match(both.stdout, /serving gRPC at 127\.0\.0\.1:\d+/);
    await home.remove();
  });

  test('gives roles to certificates, and lists them beside the keys', async () => {
    const home = await makeHome();
    const add = ['access', 'add', '--role', 'submitter'];
    assert.equal((await guardian(home, add)).exitCode, 2);
    assert.equal((await guardian(home, [...add, 'label', '--certificate', 'sensor'])).exitCode, 2);
    assert.equal((await guardian(home, [...add, '--certificate', 'sensor.test'])).exitCode, 0);
    const print = Array.from({ length: 32 }, () => 'AB').join(':');
    assert.equal((await guardian(home, [...add, '--certificate', print])).exitCode, 0);
    const { stdout } = await guardian(home, ['access', 'list']);
    assert.match(stdout, /certificate +sensor\.test +submitter/);
    assert.match(stdout, new RegExp(`certificate +sha256:${'ab'.repeat(32)} +submitter`));
    await home.remove();
  });
});
