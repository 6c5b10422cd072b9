import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { addChampion, openUpdateHouse, type UpdateHouse } from '../../../test/support/update-house.ts';
import { armFaultPoints, ManualClock } from '../../base/index.ts';
import { readRepositoryState } from './repository-folder.ts';

const ADA = { principal: 'ada' };
const DAY = 86_400_000;

let folder: string;
let clock: ManualClock;
let house: UpdateHouse;
let published: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'publish-updates-'));
  clock = new ManualClock();
  house = await openUpdateHouse(folder, clock);
  published = join(folder, 'updates', 'published', 'metadata');
  await addChampion(house);
});

afterEach(async () => {
  armFaultPoints(undefined);
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

const publish = async () => {
  const { root, targets, snapshot, timestamp } = (await house.updates.publish({}, ADA)).versions;
  return [root, targets, snapshot, timestamp];
};

suite('a repository of champions', () => {
  test('gives each role a new version only where something changed or half its time is over', async () => {
    assert.deepEqual(await publish(), [1, 1, 1, 1]);
    assert.deepEqual(await publish(), [1, 1, 1, 2]);
    clock.advance(8 * DAY);
    assert.deepEqual(await publish(), [1, 1, 2, 3]);
    clock.advance(40 * DAY);
    assert.deepEqual(await publish(), [1, 2, 3, 4]);
    clock.advance(200 * DAY);
    assert.deepEqual(await publish(), [2, 3, 4, 5]);
    await addChampion(house, 2);
    assert.deepEqual(await publish(), [2, 4, 5, 6]);
  });

  test('writes expiries in whole seconds and as long as asked for', async () => {
    const { metadata } = await house.updates.publish({ expiry: { timestampMs: DAY / 2 } }, ADA);
    const expires = Object.fromEntries(
      metadata.map(([name, bytes]) => [name, JSON.parse(Buffer.from(bytes).toString()).signed.expires]),
    );
    assert.deepEqual(expires, {
      '1.root.json': '2027-01-01T00:00:00Z',
      '1.targets.json': '2026-04-01T00:00:00Z',
      '1.snapshot.json': '2026-01-15T00:00:00Z',
      'timestamp.json': '2026-01-01T12:00:00Z',
    });
    assert.equal(metadata.at(-1)?.[0], 'timestamp.json');
  });

  test('follows rotated keys through a chain of roots', async () => {
    await publish();
    await house.keys.generate('model-signing');
    assert.deepEqual(await publish(), [2, 2, 2, 2]);
    await house.keys.generate('evaluator-signing');
    assert.deepEqual(await publish(), [3, 2, 2, 3]);
    await house.keys.generate('log-signing');
    assert.deepEqual(await publish(), [4, 2, 3, 4]);
    assert.deepEqual(
      (await house.updates.publish({}, ADA)).metadata.map(([name]) => name),
      [
        '1.root.json',
        '2.root.json',
        '3.root.json',
        '4.root.json',
        '2.targets.json',
        '3.snapshot.json',
        'timestamp.json',
      ],
    );
  });

  test('ends where every key of its root was rotated at once', async () => {
    await publish();
    await house.keys.generate('model-signing');
    await house.keys.generate('evaluator-signing');
    await assert.rejects(publish(), { code: 'registry.update-root-lost' });
    assert.equal(readdirSync(published).filter((name) => name.endsWith('root.json')).length, 1);
  });

  test('offers the models asked for, and none that has no champion', async () => {
    await addChampion(house, 3, 'other');
    const { models } = await house.updates.publish({ models: ['other'] }, ADA);
    assert.deepEqual(models, ['other@1.0.0']);
    const all = await house.updates.publish({}, ADA);
    assert.deepEqual([...all.models].sort(), ['flow@1.0.0', 'other@1.0.0']);
    await assert.rejects(house.updates.publish({ models: ['none'] }, ADA), {
      code: 'registry.update-model-unknown',
    });
  });

  test('is refused once any byte of what counts of it was changed', async () => {
    await publish();
    for (const name of readdirSync(published)) {
      const path = join(published, name);
      const genuine = readFileSync(path);
      for (const content of [genuine.toString().replace('"version": 1', '"version": 2'), '{', '']) {
        writeFileSync(path, content);
        await assert.rejects(publish(), { code: 'registry.update-repository-damaged' }, `${name} ${content}`);
      }
      rmSync(path);
      if (name !== 'timestamp.json' && name !== '1.root.json') {
        await assert.rejects(publish(), { code: 'registry.update-repository-damaged' }, name);
      }
      writeFileSync(path, genuine);
    }
    assert.equal((await publish()).at(-1), 2);
  });

  test('survives a crash before and after each of its files: old or new, and versions go up', async () => {
    await publish();
    let version = 1;
    for (let at = 1; at <= 8; at++) {
      await house.keys.generate('model-signing');
      let passed = 0;
      armFaultPoints((name) => {
        if (name.startsWith('registry.updates.') && ++passed === at) throw new TypeError(`crash at ${name}`);
      });
      await assert.rejects(publish(), /crash at registry.updates/);
      armFaultPoints(undefined);
      const state = await readRepositoryState(published);
      const expected = at === 8 ? version + 1 : version;
      assert.equal(state.timestamp?.signed.version, expected, `at ${at}`);
      version = expected;
      const [, , , timestamp = 0] = await publish();
      assert.equal(timestamp, version + 1);
      version = timestamp;
    }
  });

  test('stands in the audit log: intent, versions, outcome', async () => {
    await publish();
    const entries = [];
    for await (const { entry } of house.log.entries()) {
      if (entry.action.startsWith('repo.')) entries.push(entry);
    }
    assert.deepEqual(
      entries.map(({ action, kind, result }) => [action, kind, result]),
      [
        ['repo.publish', 'intent', undefined],
        ['repo.published', 'event', undefined],
        ['repo.publish', 'outcome', 'done'],
      ],
    );
    assert.equal(entries[1]?.detail.timestamp, 1);
  });
});
