import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serveRepository, trustRoot, withUpdateClient } from '../../src/registry/index.ts';
import { requirePython, runProgram, SIGNING } from '../support/python-environment.ts';
import { addChampion, openUpdateHouse, type UpdateHouse } from '../support/update-house.ts';

const SCRIPT = fileURLToPath(new URL('./tuf-python.py', import.meta.url));

let folder: string;
let house: UpdateHouse;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tuf-python-'));
  house = await openUpdateHouse(join(folder, 'house'));
  await addChampion(house);
  await house.offer();
});

after(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

suite('python-tuf', () => {
  test('pulls from our repository, also after its keys were rotated', async (t) => {
    const python = await requirePython(t, SIGNING);
    if (python === undefined) return;
    const root = join(folder, 'root.json');
    writeFileSync(root, house.root());
    const served = await serveRepository(house.repository, { port: 0 });
    try {
      for (const [i, purpose] of [undefined, 'model-signing', 'evaluator-signing', 'log-signing'].entries()) {
        if (purpose === 'model-signing' || purpose === 'evaluator-signing' || purpose === 'log-signing') {
          await house.keys.generate(purpose);
          await house.offer();
        }
        const { code, output } = await runProgram(python, [
          SCRIPT,
          'pull',
          served.url,
          root,
          join(folder, `pulled-${i}`),
        ]);
        assert.equal(code, 0, output);
        const pulled = output
          .split('\n')
          .filter((line) => line.startsWith('{'))
          .map((line) => JSON.parse(line) as { name: string; path: string; custom: { name: string } });
        assert.deepEqual(
          pulled.map(({ name }) => name).sort(),
          ['gates.json', 'manifest.json', 'model.agm', 'model.sig', 'schema.json'].map(
            (file) => `flow/1.0.0/${file}`,
          ),
        );
        const manifest = pulled.find(({ name }) => name.endsWith('manifest.json'));
        assert.equal(manifest?.custom.name, 'flow');
        assert.equal(JSON.parse(readFileSync(manifest?.path ?? '', 'utf8')).version, '1.0.0');
      }
    } finally {
      await served.close();
    }
  });

  test('refuses our repository where a byte of it was changed', async (t) => {
    const python = await requirePython(t, SIGNING);
    if (python === undefined) return;
    const root = join(folder, 'root.json');
    writeFileSync(root, house.root());
    const path = join(house.repository, 'metadata', 'timestamp.json');
    const genuine = readFileSync(path, 'utf8');
    writeFileSync(path, genuine.replace(/"version": (\d+),/, '"version": 1$1,'));
    const served = await serveRepository(house.repository, { port: 0 });
    try {
      const { code } = await runProgram(python, [SCRIPT, 'pull', served.url, root, join(folder, 'refused')]);
      assert.notEqual(code, 0);
    } finally {
      await served.close();
      writeFileSync(path, genuine);
    }
  });

  test('writes a repository that our client pulls from, root rotation and threshold of two included', async (t) => {
    const python = await requirePython(t, SIGNING);
    if (python === undefined) return;
    const theirs = join(folder, 'theirs');
    const { code, output } = await runProgram(python, [
      SCRIPT,
      'write',
      theirs,
      'a.txt=one',
      'deep/er/b.bin=two',
    ]);
    assert.equal(code, 0, output);
    const served = await serveRepository(theirs, { port: 0 });
    try {
      const metadataFolder = join(folder, 'ours');
      await trustRoot(metadataFolder, readFileSync(join(theirs, 'root.json')));
      const urls = { metadataUrl: `${served.url}/metadata`, targetsUrl: `${served.url}/targets` };
      await withUpdateClient({ metadataFolder, ...urls }, async (client) => {
        await client.refresh();
        assert.deepEqual(await client.versions(), { root: 2, timestamp: 1, snapshot: 1, targets: 1 });
        for (const [name, content] of [
          ['a.txt', 'one'],
          ['deep/er/b.bin', 'two'],
        ] as const) {
          const target = await client.find(name);
          assert.ok(target);
          const path = join(folder, encodeURIComponent(name));
          await client.download(target, path);
          assert.equal(readFileSync(path, 'utf8'), content);
        }
      });
    } finally {
      await served.close();
    }
  });
});
