import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { type Home, makeHome, startGuardian, waitForExit, waitForObject } from '../support/cli.ts';
import { DEPLOY_FOLDER, readDeployed, readManifests, workloadsOf, type Yaml } from '../support/deployed.ts';
import { freePort } from '../support/free-port.ts';
import { startNats } from '../support/nats.ts';
import { requirePostgres, startPostgres } from '../support/postgres.ts';
import { requireTool } from '../support/requires.ts';

/** What the kubelet does with a probe: HTTPS to the pod's address, the header as it stands in the manifest. */
function probe({ path, httpHeaders }: Yaml, port: number, ca: string): Promise<number | undefined> {
  const [{ name, value }] = httpHeaders;
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        ...{ host: '127.0.0.1', port, path, ca, servername: 'guardian', agent: false },
        // The manifest's port is that of the pod; here it is a free one.
        headers: { [name]: value.replace(':8411', `:${port}`) },
      },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode));
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

function health(home: Home, question: string): number | null {
  const env = { ...home.environment, GUARDIAN_STATE: join(home.folder, 'state', 'ai-guardian') };
  return spawnSync(process.execPath, [join(DEPLOY_FOLDER, 'health.mjs'), question], { env }).status;
}

test('the server comes up on what is deployed: secrets, NATS, PostgreSQL, and answers its probes', async (t) => {
  if (!requireTool(t, 'nats-server') || !requirePostgres(t)) return;
  const root = mkdtempSync(join(tmpdir(), 'guardian-deployed-'));
  const secrets = join(root, 'secrets');
  execFileSync(join(DEPLOY_FOLDER, 'make-secrets.sh'), [secrets], { stdio: 'pipe' });
  // Root's files went to the users of the containers; here they are the test's own.
  execFileSync('chown', ['-R', `${process.getuid?.()}:${process.getgid?.()}`, secrets]);
  const secret = (path: string) => readFileSync(join(secrets, path), 'utf8');

  const natsConf = readDeployed('nats.conf')
    .replaceAll('"/run/secrets/', `"${secrets}/nats/`)
    .replace('"../../run/secrets/', `"../${basename(root)}/secrets/nats/`)
    // Address, monitor and folder are those of the test.
    .replaceAll(/^(listen|http):.*$/gm, '')
    .replace(/^jetstream \{[^}]*\}/m, '');
  const nats = await startNats([natsConf]);
  const hba = join(tmpdir(), `guardian-hba-${process.pid}.conf`);
  writeFileSync(hba, readDeployed('pg_hba.conf'));
  const postgres = await startPostgres([`hba_file = '${hba}'`, "ssl_min_protocol_version = 'TLSv1.3'"], {
    cert: secret('postgres/tls.crt'),
    key: secret('postgres/tls.key'),
  });
  const home = await makeHome();
  let server: ChildProcess | undefined;
  const configFolder = join(home.folder, 'config', 'ai-guardian');
  const passwordFile = join(secrets, 'guardian/postgres-password');
  try {
    await postgres.edit(postgres.config, 'CREATE DATABASE guardian');
    writeFileSync(passwordFile, `${postgres.password}\n`, { mode: 0o600 });
    mkdirSync(configFolder, { recursive: true, mode: 0o700 });
    copyFileSync(join(secrets, 'guardian/unlock.key'), join(configFolder, 'unlock.key'));
    const port = await freePort();
    writeFileSync(
      join(configFolder, 'guardian.yaml'),
      readDeployed('guardian.yaml')
        .replaceAll('/run/secrets/', `${secrets}/guardian/`)
        .replace('host: 0.0.0.0', 'host: 127.0.0.1')
        .replace('port: 8411', `port: ${port}`)
        .replace('tls://nats:4222', nats.server.replace('nats://127.0.0.1', 'tls://localhost'))
        .replace('@postgres:5432', `@localhost:${postgres.port}`),
    );
    assert.equal(health(home, 'live'), 1, 'before it runs');
    server = startGuardian(home, ['serve', '--json']);
    await waitForObject(server, 'serve.listening');
    const [container] =
      workloadsOf(readManifests()).find(({ name }) => name === 'guardian')?.containers ?? [];
    for (const each of [container?.startupProbe, container?.livenessProbe]) {
      assert.equal(each.httpGet.scheme, 'HTTPS');
      assert.equal(await probe(each.httpGet, port, secret('guardian/ca.crt')), 200);
    }
    const nameless = { path: '/v2/health/live', httpHeaders: [{ name: 'Host', value: '10.0.0.7:8411' }] };
    assert.equal(
      await probe(nameless, port, secret('guardian/ca.crt')),
      421,
      'as the kubelet asks by itself',
    );
    assert.deepEqual(container?.readinessProbe.exec.command, ['node', '/app/deploy/health.mjs', 'ready']);
    assert.equal(health(home, 'live'), 0);
    assert.equal(health(home, 'ready'), 1, 'no model has been promoted');
    server.kill('SIGTERM');
    assert.equal(await waitForExit(server), 0);
  } finally {
    server?.kill('SIGKILL');
    await nats.close();
    await postgres.close();
    await home.remove();
    rmSync(root, { recursive: true });
    rmSync(hba);
  }
});
