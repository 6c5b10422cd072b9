import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { guardian, makeHome } from '../../test/support/cli.ts';

suite('guardian report', () => {
  test('gathers how things stand, and no secret or name of the state it is made from', async (t) => {
    const home = await makeHome();
    t.after(() => home.remove());
    const added = await guardian(home, ['--json', 'access', 'add', 'canary-label', '--role', 'viewer']);
    const apiKey = String(added.objects.find(({ key }) => typeof key === 'string')?.key);
    const configFolder = join(home.folder, 'config', 'ai-guardian');
    const config = join(configFolder, 'guardian.yaml');
    mkdirSync(configFolder, { recursive: true });
    writeFileSync(
      config,
      'server:\n  allowedHosts: [canary-host.example]\n  port: 0\nmetrics:\n  otlp:\n    headersFile: /etc/canary-headers\n' +
        'inference:\n  fallbackStrategy: abstain\n',
    );
    const bundle = join(home.folder, 'report.json.gz');
    const made = await guardian(home, ['report', '--bundle', bundle]);
    assert.equal(made.exitCode, 0, made.stderr);
    assert.equal(statSync(bundle).mode & 0o777, 0o600);
    const text = gunzipSync(readFileSync(bundle)).toString();
    const report = JSON.parse(text) as {
      readonly versions: Readonly<Record<string, string>>;
      readonly configuration: { readonly inference: { readonly fallbackStrategy: string } };
      readonly status: { readonly audit: { readonly size: number }; readonly reading: object };
      readonly errors: { readonly errors: readonly object[] };
      readonly auditHead: { readonly size: number; readonly root: string };
    };
    assert.equal(report.versions.node, process.versions.node);
    assert.equal(report.configuration.inference.fallbackStrategy, 'abstain');
    assert.equal(report.auditHead.size, report.status.audit.size);
    assert.match(report.auditHead.root, /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(report.errors, { errors: [] });
    const unlock = readFileSync(join(configFolder, 'unlock.key'));
    const secrets = [
      apiKey,
      ...(['hex', 'base64', 'base64url'] as const).map((form) => unlock.toString(form)),
    ];
    for (const canary of [...secrets, 'canary', home.folder]) assert.ok(!text.includes(canary), canary);

    const again = await guardian(home, ['report', '--bundle', bundle]);
    assert.notEqual(again.exitCode, 0);
    assert.deepEqual(
      readdirSync(home.folder).filter((name) => name.includes('tmp')),
      [],
    );
  });

  test('is made of a state that cannot be opened', async (t) => {
    const home = await makeHome();
    t.after(() => home.remove());
    const state = join(home.folder, 'not-a-folder');
    writeFileSync(state, '');
    const bundle = join(home.folder, 'report.json');
    const made = await guardian(home, ['report', '--state', state, '--bundle', bundle]);
    assert.equal(made.exitCode, 0, made.stderr);
    const { status } = JSON.parse(readFileSync(bundle, 'utf8')) as { readonly status: object };
    assert.deepEqual(Object.keys(status), ['failed']);
  });
});
