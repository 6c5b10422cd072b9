import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createContext } from '../../src/cli/context.ts';
import { Output } from '../../src/cli/output.ts';
import { openSession } from '../../src/cli/session.ts';
import { guardian, type Home, makeHome, startGuardian, waitForExit, waitForObject } from '../support/cli.ts';
import { makeCandidate } from '../support/registry-fixture.ts';

let here: Home;
let there: Home;

before(async () => {
  here = await makeHome();
  there = await makeHome();
  await addChampion(there);
});

after(async () => {
  await here.remove();
  await there.remove();
});

async function addChampion(home: Home, seed = 1): Promise<void> {
  const context = await createContext(
    {},
    {
      output: new Output({ json: true, stdout: process.stdout, stderr: process.stderr }),
      environment: home.environment,
      signal: new AbortController().signal,
    },
  );
  const session = await openSession(context);
  try {
    const registry = session.guardian?.registry;
    const version = await registry?.publish(makeCandidate({ seed }), { principal: 'ada' });
    await registry?.promote('flow', version?.version ?? '', 'champion', { principal: 'bob' });
  } finally {
    await session.close();
  }
}

suite('models from another site', () => {
  test('are served by TUF, pulled with a root that came another way, and audited on both sides', async () => {
    const out = join(there.folder, 'repository');
    const serving = startGuardian(there, ['models', 'serve-repo', '--out', out, '--port', '0', '--json']);
    try {
      const { url } = (await waitForObject(serving, 'repo.listening')) as { url: string };
      const root = join(out, 'metadata', '1.root.json');
      const without = await guardian(here, ['models', 'pull', url, '--json']);
      assert.equal(without.exitCode, 2, without.stderr);
      assert.equal(without.objects.at(-1)?.code, 'registry.update-root-needed');

      const first = await guardian(here, [
        'models',
        'pull',
        url,
        '--root',
        root,
        '--model',
        'flow',
        '--json',
      ]);
      assert.equal(first.exitCode, 0, first.stderr);
      const models = first.objects.at(-1)?.models;
      const [pulled] = models as { name: string; version: string; state: string }[];
      assert.deepEqual([pulled?.name, pulled?.state], ['flow', 'imported']);
      const again = await guardian(here, ['models', 'pull', url]);
      assert.equal(again.exitCode, 0, again.stderr);
      assert.match(again.stdout, /present/);

      const verified = await guardian(here, ['models', 'verify', `flow@${pulled?.version}`, '--json']);
      assert.equal(verified.exitCode, 0, verified.stderr);
      const unknown = await guardian(here, ['models', 'pull', url, '--model', 'other', '--json']);
      assert.equal(unknown.objects.at(-1)?.code, 'registry.update-model-unknown');

      const other = join(here.folder, 'other-root.json');
      writeFileSync(other, readFileSync(root, 'utf8').replace(/\n/g, ' \n'));
      const differs = await guardian(here, ['models', 'pull', url, '--root', other, '--json']);
      assert.equal(differs.objects.at(-1)?.code, 'registry.update-root-differs');
      assert.equal(differs.exitCode, 1);
    } finally {
      serving.kill('SIGINT');
    }
    await waitForExit(serving);
    for (const [home, action] of [
      [here, 'model.pull'],
      [there, 'repo.publish'],
    ] as const) {
      const { objects } = await guardian(home, ['audit', 'show', '--json']);
      const entries = JSON.stringify(objects);
      assert.ok(entries.includes(`"kind":"intent"`) && entries.includes(`"action":"${action}"`), entries);
    }
  });

  test('are written without serving, with the times asked for; a second time brings a new timestamp', async () => {
    const out = join(there.folder, 'written');
    const args = ['models', 'serve-repo', '--out', out, '--write-only', '--timestamp-days', '0.5', '--json'];
    const first = await guardian(there, args);
    assert.equal(first.exitCode, 0, first.stderr);
    const versions = (objects: readonly Record<string, unknown>[]) =>
      objects.at(-1)?.versions as Record<string, number>;
    const second = await guardian(there, args);
    assert.deepEqual(versions(second.objects), {
      ...versions(first.objects),
      timestamp: (versions(first.objects).timestamp ?? 0) + 1,
    });
    const { signed } = JSON.parse(readFileSync(join(out, 'metadata', 'timestamp.json'), 'utf8'));
    const hours = (Date.parse(signed.expires) - Date.now()) / 3_600_000;
    assert.ok(hours > 11 && hours < 12.1, String(hours));
  });

  test('are refused before anything is asked where address, root or times are wrong', async () => {
    for (const url of ['ftp://a/b', 'http://user:secret@a/', 'http://a/?q', 'nonsense']) {
      const { exitCode, objects } = await guardian(here, ['models', 'pull', url, '--json']);
      assert.equal(objects.at(-1)?.code, 'registry.update-address', url);
      assert.equal(exitCode, 2);
    }
    const missing = await guardian(here, [
      'models',
      'pull',
      'http://a/',
      '--root',
      join(here.folder, 'none'),
    ]);
    assert.equal(missing.exitCode, 2);
    const days = await guardian(there, ['models', 'serve-repo', '--out', 'x', '--timestamp-days', '0']);
    assert.equal(days.exitCode, 2);
    const none = await guardian(there, [
      ...[
        'models',
        'serve-repo',
        '--out',
        join(there.folder, 'none'),
        '--write-only',
        '--model',
        'other',
        '--json',
      ],
    ]);
    assert.equal(none.objects.at(-1)?.code, 'registry.update-model-unknown');
    assert.ok(!existsSync(join(there.folder, 'none')));
  });
});
