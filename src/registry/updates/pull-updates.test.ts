import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { addChampion, openUpdateHouse, type UpdateHouse } from '../../../test/support/update-house.ts';
import { systemClock } from '../../base/index.ts';
import { sha256 } from '../../crypto/index.ts';
import { DEFAULT_EXPIRY, type ModelToOffer, nextRepository } from './next-repository.ts';
import { modelTargetName } from './offered-model.ts';
import type { PublishedUpdates } from './publish-updates.ts';
import { consistentName, mirrorRepository, readRepositoryState } from './repository-folder.ts';
import { type ServedRepository, serveRepository } from './serve-repository.ts';
import { updateSigners } from './update-keys.ts';

const EVE = { principal: 'eve' };

let folder: string;
let there: UpdateHouse;
let here: UpdateHouse;
let served: ServedRepository;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pull-updates-'));
  there = await openUpdateHouse(join(folder, 'there'));
  here = await openUpdateHouse(join(folder, 'here'));
  await addChampion(there);
  await there.offer();
  served = await serveRepository(there.repository, { port: 0 });
});

afterEach(async () => {
  await served.close();
  await there.close();
  await here.close();
  rmSync(folder, { recursive: true, force: true });
});

const pull = (models?: readonly string[]) =>
  here.updates.pull({ url: served.url, root: there.root(), ...(models && { models }) }, EVE);

/** Serves a repository that is signed as it should be, and holds whatever `change` made of the offered model. */
async function offerChanged(
  change: (
    model: ModelToOffer,
    keys: readonly ModelKey[],
  ) => { models: readonly ModelToOffer[]; keys?: readonly ModelKey[] },
): Promise<void> {
  const { metadata, targets } = await there.updates.publish({}, EVE);
  const { model, keys } = readOffer({ metadata, targets });
  const { models, keys: listed = keys } = change(model, keys);
  const state = await readRepositoryState(join(folder, 'there', 'updates', 'published', 'metadata'));
  const next = await nextRepository({
    previous: state,
    models,
    modelKeys: listed,
    signers: await updateSigners(there.keys),
    expiry: DEFAULT_EXPIRY,
    now: systemClock.now(),
  });
  await mirrorRepository(there.repository, {
    metadata: next.files,
    targets: models.flatMap(({ claims, files }) =>
      Object.entries(files).map(([file, bytes]) => {
        const digest = createHash('sha256').update(bytes).digest('hex');
        return [consistentName(modelTargetName(claims, file), digest), bytes] as const;
      }),
    ),
  });
}

interface ModelKey {
  readonly hint: string;
  readonly publicKeyPem: string;
}

function readOffer({ metadata, targets }: Pick<PublishedUpdates, 'metadata' | 'targets'>) {
  const text = metadata.find(([name]) => name.endsWith('.targets.json'))?.[1] ?? new Uint8Array();
  const { signed } = JSON.parse(Buffer.from(text).toString());
  const files = Object.fromEntries(
    targets.map(([name, bytes]) => [name.replace(/^.*[0-9a-f]{64}\./, ''), bytes]),
  );
  const [target] = Object.values(signed.targets) as { custom: ModelToOffer['claims'] }[];
  assert.ok(target);
  const model: ModelToOffer = { claims: target.custom, files };
  return { model, keys: signed['x-ai-guardian'].modelKeys as readonly ModelKey[] };
}

suite('a pull', () => {
  test('imports what is new, leaves what is present, and follows the champion of the other site', async () => {
    const first = await pull();
    assert.deepEqual(
      first.models.map(({ state, offered }) => [state, offered]),
      [['imported', '1.0.0']],
    );
    assert.deepEqual(
      (await pull(['flow'])).models.map(({ state }) => state),
      ['present'],
    );
    await addChampion(there, 2);
    await there.keys.generate('model-signing');
    await there.offer();
    const second = await pull();
    assert.deepEqual(
      second.models.map(({ state, offered }) => [state, offered]),
      [['imported', '1.1.0']],
    );
    assert.deepEqual(second.versions, { root: 2, timestamp: 2, snapshot: 2, targets: 2 });
    const [, imported] = await here.registry.list('flow');
    const verified = await here.registry.verify(`flow@${imported?.version}`);
    assert.equal(verified.manifest.imported?.version, '1.1.0');
    assert.equal(verified.digest, second.models[0]?.digest);
  });

  test('waits its turn: two at once import once', async () => {
    const both = await Promise.all([pull(), pull()]);
    assert.deepEqual(
      both.map(({ models }) => models[0]?.state),
      ['imported', 'present'],
    );
    assert.equal((await here.registry.list('flow')).length, 1);
  });

  test('leaves nothing but trusted metadata behind, and both sides of it in the log', async () => {
    await pull();
    await assert.rejects(pull(['none']), { code: 'registry.update-model-unknown' });
    assert.deepEqual(readdirSync(join(folder, 'here', 'updates')), ['trusted']);
    const entries: string[] = [];
    for await (const { entry } of here.log.entries()) {
      if (/^model\.(pull|import|publish)/.test(entry.action))
        entries.push(`${entry.action} ${entry.kind} ${entry.result ?? ''}`);
    }
    assert.equal(entries[0], 'model.pull intent ');
    assert.ok(entries.includes('model.pulled event '));
    assert.deepEqual(
      entries.filter((text) => text.startsWith('model.pull outcome')),
      ['model.pull outcome done', 'model.pull outcome failed'],
    );
  });

  test('is refused where the state holds no root, another root is handed over, or nobody answers', async () => {
    const { url } = served;
    await assert.rejects(here.updates.pull({ url }, EVE), { code: 'registry.update-root-needed' });
    await assert.rejects(here.updates.pull({ url, root: Buffer.from('{}') }, EVE), {
      code: 'registry.update-refused',
    });
    await pull();
    await here.updates.pull({ url: `${url}/` }, EVE);
    const other = Buffer.concat([there.root(), Buffer.from(' ')]);
    await assert.rejects(here.updates.pull({ url, root: other }, EVE), {
      code: 'registry.update-root-differs',
    });
    await served.close();
    await assert.rejects(pull(), { code: 'registry.update-unreachable' });
    for (const wrong of ['file:///etc/passwd', 'http://u:p@h/', 'http://h/?a', 'http://h/#a', '']) {
      await assert.rejects(here.updates.pull({ url: wrong }, EVE), { code: 'registry.update-address' });
    }
  });

  test('is refused from a site of the same address with keys of its own', async () => {
    await pull();
    const forged = await openUpdateHouse(join(folder, 'forged'));
    await addChampion(forged, 9);
    await forged.offer();
    rmSync(there.repository, { recursive: true });
    cpSync(forged.repository, there.repository, { recursive: true });
    await forged.close();
    await assert.rejects(here.updates.pull({ url: served.url }, EVE), { code: 'registry.update-refused' });
  });

  const FORGERIES: Readonly<
    Record<string, readonly [code: string, change: Parameters<typeof offerChanged>[0]]>
  > = {
    'weights changed by one who may sign targets, but not models': [
      'registry.weights-tampered',
      (model) => {
        const weights = Uint8Array.from(model.files['model.agm'] ?? []);
        weights[100] = (weights[100] ?? 0) ^ 1;
        return { models: [{ ...model, files: { ...model.files, 'model.agm': weights } }] };
      },
    ],
    'a manifest changed likewise': [
      'registry.file-tampered',
      (model) => ({
        models: [{ ...model, files: { ...model.files, 'manifest.json': Buffer.from('{}') } }],
      }),
    ],
    'another version than its manifest': [
      'registry.update-model-mismatch',
      (model) => ({ models: [{ ...model, claims: { ...model.claims, version: '9.9.9' } }] }),
    ],
    'another name than its manifest': [
      'registry.update-model-mismatch',
      (model) => ({ models: [{ ...model, claims: { ...model.claims, name: 'nsl' } }] }),
    ],
    'another digest than its manifest': [
      'registry.update-model-mismatch',
      (model) => ({ models: [{ ...model, claims: { ...model.claims, digest: sha256('other') } }] }),
    ],
    'another schema than its manifest': [
      'registry.update-model-mismatch',
      (model) => ({ models: [{ ...model, claims: { ...model.claims, schemaId: sha256('other') } }] }),
    ],
    'a signer that is not in the signed list': [
      'registry.update-model-mismatch',
      (model) => ({ models: [model], keys: [] }),
    ],
    'a signer whose key is another than its hint says': [
      'registry.signer-untrusted',
      (model, keys) => ({
        models: [model],
        keys: keys.map(({ hint }) => ({
          hint,
          publicKeyPem:
            '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
        })),
      }),
    ],
    'a file too few': [
      'registry.update-model-mismatch',
      ({ claims, files: { 'gates.json': _, ...files } }) => ({ models: [{ claims, files }] }),
    ],
  };
  for (const [title, [code, change]] of Object.entries(FORGERIES)) {
    test(`is refused where the repository offers ${title}`, async () => {
      await offerChanged(change);
      await assert.rejects(pull(), { code });
      assert.deepEqual(await here.registry.list(), []);
      assert.ok(!existsSync(join(folder, 'here', 'blobs')));
    });
  }

  test('is refused by the local gates, whatever the other site says of the model', async () => {
    const policy = { gates: 'evaluator' } as const;
    const strict = await openUpdateHouse(join(folder, 'strict'), systemClock, { policy });
    try {
      await assert.rejects(strict.updates.pull({ url: served.url, root: there.root() }, EVE), {
        code: 'registry.gate-data-missing',
      });
      assert.deepEqual(await strict.registry.list(), []);
    } finally {
      await strict.close();
    }
  });

  test('passes over targets that are no models of ours', async () => {
    await offerChanged((model) => ({ models: [model, { claims: model.claims, files: {} }] }));
    assert.equal((await pull()).models.length, 1);
    await offerChanged(() => ({ models: [] }));
    assert.deepEqual((await pull()).models, []);
  });
});
