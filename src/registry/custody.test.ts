import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { open, unwrapFromStore } from '../crypto/index.ts';
import { openDirectoryBlobStore } from '../storage/index.ts';
import { replayErasures } from './erase.ts';
import { DAY_MS, RETENTION_DEFAULTS } from './retention-config.ts';
import { weightsContext } from './verify.ts';
import { blobNames } from './version-files.ts';

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };

let root: string;
let folder: string;
let clock: ManualClock;
let house: House;
let turn = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'custody-'));
});
after(async () => {
  await house.close();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(async () => {
  if (turn > 0) await house.close();
  folder = join(root, String(turn++));
  clock = new ManualClock();
  await reopen();
});

async function reopen(): Promise<void> {
  const escrow = await openDirectoryBlobStore(join(folder, 'escrow'));
  house = await openHouse(folder, clock, { escrow, retention: { ...RETENTION_DEFAULTS, escrowDays: 7 } });
}

/** Publishes versions 1.0.0, 1.1.0, ... a day apart. */
async function publish(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await house.registry.publish(makeCandidate({ seed: i + 1 }), ADA);
    clock.advance(DAY_MS);
  }
}

async function entriesOf(action: string) {
  const found = [];
  for await (const { entry } of house.log.entries()) if (entry.action === action) found.push(entry);
  return found;
}

describe('tags', () => {
  test('are set, changed and taken away, each as an audited change', async () => {
    await publish(1);
    const { custody } = house.registry;
    assert.deepEqual(await custody.tag('flow', '1.0.0', { team: 'soc', site: 'Köln: hall = 2' }, ADA), {
      site: 'Köln: hall = 2',
      team: 'soc',
    });
    await custody.tag('flow', '1.0.0', { team: null }, BOB);
    await house.close();
    await reopen();
    assert.deepEqual((await house.registry.list())[0]?.tags, { site: 'Köln: hall = 2' });
    const outcomes = (await entriesOf('model.tag')).filter(({ kind }) => kind === 'outcome');
    assert.deepEqual(
      outcomes.map(({ principal, subject }) => `${principal} ${subject}`),
      ['ada flow@1.0.0', 'ada flow@1.0.0', 'bob flow@1.0.0'],
    );
  });

  test('with another name or value than allowed are refused before anything is logged', async () => {
    await publish(1);
    const { size } = house.log;
    const wrong: [string, string][] = [
      ['Team', 'x'],
      ['../team', 'x'],
      ['team\0', 'x'],
      ['__proto__', 'x'],
      ['', 'x'],
      ['team', ''],
      ['team', 'a\nb'],
      ['team', ' a'],
      ['team', 'a\u202eb'],
      ['team', 'e\u0301'],
      ['team', 'x'.repeat(257)],
    ];
    for (const [key, value] of wrong) {
      await assert.rejects(
        house.registry.custody.tag('flow', '1.0.0', Object.fromEntries([[key, value]]), ADA),
        { code: 'registry.tag-invalid' },
        JSON.stringify([key, value]),
      );
    }
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`t${i}`, 'x']));
    await assert.rejects(house.registry.custody.tag('flow', '1.0.0', many, ADA), {
      code: 'registry.tag-invalid',
    });
    const taken = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`t${i}`, null]));
    await assert.rejects(house.registry.custody.tag('flow', '1.0.0', taken, ADA), {
      code: 'registry.tag-invalid',
    });
    assert.equal(house.log.size, size);
    await assert.rejects(house.registry.custody.tag('flow', '9.0.0', { a: 'b' }, ADA), {
      code: 'registry.version-unknown',
    });
    assert.equal(house.log.size, size);
  });
});

describe('a hold', () => {
  test('keeps a version from erase and prune until it is released', async () => {
    await publish(2);
    clock.advance(400 * DAY_MS);
    const { custody } = house.registry;
    const hold = await custody.hold('flow', '1.0.0', { reason: 'case 7' }, BOB);
    await assert.rejects(custody.erase('flow', '1.0.0', { reason: 'by mistake' }, ADA), {
      code: 'registry.version-held',
    });
    const plan = await custody.prune('flow', { keep: 1, dryRun: true }, ADA);
    assert.deepEqual(plan.versions.find(({ version }) => version === '1.0.0')?.stays, ['held']);
    assert.deepEqual(
      (await entriesOf('model.erase-refused')).map(({ reason }) => reason),
      ['registry.version-held'],
    );
    await house.close();
    await reopen();
    const again = house.registry.custody;
    await assert.rejects(again.release('flow', '1.0.0', { hold: 1, reason: 'done' }, BOB), {
      code: 'registry.hold-unknown',
    });
    await again.release('flow', '1.0.0', { hold: hold.id, reason: 'case closed' }, BOB);
    assert.equal((await again.erase('flow', '1.0.0', { reason: 'now' }, ADA)).state, 'complete');
  });

  test('ends by itself at its end, which must lie in the future', async () => {
    await publish(1);
    const { custody } = house.registry;
    const until = new Date(clock.now() + DAY_MS).toISOString();
    await custody.hold('flow', '1.0.0', { reason: 'case 8', until }, BOB);
    assert.equal(custody.stateOf('flow', '1.0.0').holds.length, 1);
    await assert.rejects(
      custody.hold('flow', '1.0.0', { reason: 'case 8', until: '2020-01-01T00:00:00Z' }, BOB),
      {
        code: 'registry.hold-invalid',
      },
    );
    await assert.rejects(custody.hold('flow', '1.0.0', { reason: 'a\nb' }, BOB), {
      code: 'registry.reason-invalid',
    });
    clock.advance(DAY_MS);
    assert.equal(custody.stateOf('flow', '1.0.0').holds.length, 0);
  });
});

describe('an erase', () => {
  test('leaves a blob that no key of the store opens, a tombstone, and who did it why', async () => {
    await publish(2);
    const { registry, db, keys, blobs } = house;
    const weights = blobNames('flow', '1.0.0').weights;
    const sealed = await blobs.get(weights);
    const manifest = (await registry.show('flow@1.0.0')).manifest;
    const status = await registry.custody.erase('flow', '1.0.0', { reason: 'court order 12' }, BOB);
    assert.equal(status.method, 'cryptographic erase (NIST SP 800-88)');
    assert.deepEqual(
      [status.state, status.hasWraps, status.principal, status.reason],
      ['complete', false, 'bob', 'court order 12'],
    );
    assert.deepEqual(await blobs.get(weights), sealed);
    assert.equal((await db.wraps.list()).length, 1);
    for (const id of await db.wraps.list()) {
      const dataKey = await unwrapFromStore(keys, await db.wraps.get(id));
      assert.throws(() => open(sealed, dataKey, weightsContext(manifest)), { code: 'crypto.integrity' });
    }
    for (const attempt of [
      () => registry.verify('flow@1.0.0'),
      () => registry.show('flow@1.0.0'),
      () => registry.exportTo('flow@1.0.0', join(folder, 'out')),
      () => registry.promote('flow', '1.0.0', 'champion', ADA),
    ]) {
      await assert.rejects(attempt, { code: 'registry.version-erased' });
    }
    await assert.rejects(registry.publish(makeCandidate({ seed: 1 }), ADA, { version: '1.0.0' }), {
      code: 'registry.version-exists',
    });
    assert.equal((await registry.publish(makeCandidate({ seed: 5 }), ADA)).version, '1.2.0');
    const row = (await registry.list()).find(({ version }) => version === '1.0.0');
    assert.deepEqual([row?.state, row?.isInLog], ['erased', true]);
    assert.equal((await registry.custody.lineage('flow', '1.0.0')).author, 'ada');
    assert.match(await registry.custody.card('flow', '1.0.0'), /# flow 1\.0\.0/);
    const [intent] = await entriesOf('model.erase');
    assert.deepEqual([intent?.principal, intent?.detail.reason], ['bob', 'court order 12']);
    await assert.rejects(registry.custody.erase('flow', '1.0.0', { reason: 'twice' }, BOB), {
      code: 'registry.version-erased',
    });
  });

  test('is pending until the last escrowed wrap has expired, and complete only then', async () => {
    await publish(1);
    const { custody } = house.registry;
    assert.equal((await custody.escrow(ADA)).escrowed, 1);
    clock.advance(2 * DAY_MS);
    assert.equal((await custody.escrow(ADA)).escrowed, 1);
    const status = await custody.erase('flow', '1.0.0', { reason: 'r' }, ADA);
    assert.deepEqual([status.state, status.hasWraps, status.escrowed], ['pending', false, 1]);
    assert.equal(status.escrowUntil, new Date(clock.now() + 7 * DAY_MS).toISOString());
    assert.equal((await custody.escrow(ADA)).escrowed, 0, 'an erased version is not escrowed anew');
    assert.deepEqual(await custody.restoreEscrow(ADA), [], 'nor restored');
    clock.advance(7 * DAY_MS - 1);
    assert.equal((await custody.eraseStatus('flow', '1.0.0', ADA)).state, 'pending');
    assert.deepEqual(await entriesOf('model.erase-complete'), []);
    clock.advance(1);
    for (let i = 0; i < 2; i++) {
      const last = await custody.eraseStatus('flow', '1.0.0', ADA);
      assert.deepEqual([last.state, last.escrowed], ['complete', 0]);
    }
    assert.equal((await entriesOf('model.erase-complete')).length, 1);
  });

  test('is pending although the escrow is elsewhere, because the log knows of it', async () => {
    await publish(1);
    await house.registry.custody.escrow(ADA);
    rmSync(join(folder, 'escrow'), { recursive: true });
    await house.close();
    await reopen();
    assert.equal(
      (await house.registry.custody.erase('flow', '1.0.0', { reason: 'r' }, ADA)).state,
      'pending',
    );
  });

  test('is replayed at the next open where a restore brought its wraps back', async () => {
    await publish(2);
    cpSync(join(folder, 'state', 'wraps'), join(folder, 'backup'), { recursive: true });
    await house.registry.custody.erase('flow', '1.0.0', { reason: 'r' }, ADA);
    await house.close();
    cpSync(join(folder, 'backup'), join(folder, 'state', 'wraps'), { recursive: true });
    await reopen();
    assert.equal((await house.db.wraps.list()).length, 1);
    await assert.rejects(house.registry.verify('flow@1.0.0'), { code: 'registry.version-erased' });
    assert.equal((await house.registry.verify('flow@1.1.0')).version, '1.1.0');
    assert.deepEqual(
      (await entriesOf('model.erase-replay')).map(({ subject }) => subject),
      ['flow@1.0.0'],
    );
    cpSync(join(folder, 'backup'), join(folder, 'state', 'wraps'), { recursive: true });
    assert.equal((await replayErasures(house.log, house.db.wraps)).length, 1);
    assert.equal((await replayErasures(house.log, house.db.wraps)).length, 0);
  });

  test('is refused for what an alias points at or what serves, and for what is not there', async () => {
    await publish(2);
    const { registry } = house;
    await registry.promote('flow', '1.0.0', 'shadow', ADA);
    await assert.rejects(registry.custody.erase('flow', '1.0.0', { reason: 'r' }, ADA), {
      code: 'registry.version-in-use',
      message: /aliased/,
    });
    const serving = () => ['1.1.0'];
    await assert.rejects(registry.custody.erase('flow', '1.1.0', { reason: 'r', serving }, ADA), {
      code: 'registry.version-in-use',
    });
    await house.log.append({
      kind: 'intent',
      action: 'model.export',
      principal: 'x',
      subject: 'flow@1.1.0',
      detail: {},
    });
    await assert.rejects(registry.custody.erase('flow', '1.1.0', { reason: 'r' }, ADA), {
      message: /in-flight/,
    });
    await assert.rejects(registry.custody.erase('flow', '7.0.0', { reason: 'r' }, ADA), {
      code: 'registry.version-unknown',
    });
    await assert.rejects(registry.custody.erase('flow', '1.1.0', { reason: '' }, ADA), {
      code: 'registry.reason-invalid',
    });
    await assert.rejects(registry.custody.eraseStatus('flow', '1.1.0', ADA), {
      code: 'registry.version-not-erased',
    });
  });
});

describe('the escrow', () => {
  test('gives lost wraps back to a restored backup', async () => {
    await publish(2);
    const { custody } = house.registry;
    await custody.escrow(ADA);
    rmSync(join(folder, 'state', 'wraps'), { recursive: true });
    await house.close();
    await reopen();
    await assert.rejects(house.registry.verify('flow@1.0.0'), { code: 'registry.wraps-tampered' });
    assert.equal((await house.registry.custody.restoreEscrow(ADA)).length, 2);
    assert.equal((await house.registry.verify('flow@1.0.0')).version, '1.0.0');
  });

  test('holds one copy a key, drops expired ones at the next open, and refuses a changed one', async () => {
    await publish(1);
    await house.registry.custody.escrow(ADA);
    clock.advance(DAY_MS);
    await house.registry.custody.escrow(ADA);
    const escrow = await openDirectoryBlobStore(join(folder, 'escrow'));
    const [name = ''] = await escrow.list('');
    assert.equal((await escrow.list('')).length, 1);
    const text = Buffer.from(await escrow.get(name)).toString();
    await escrow.delete(name);
    await escrow.put(name, Buffer.from(text.replace('"dataKeyId":"dk-', '"dataKeyId":"dk0')));
    rmSync(join(folder, 'state', 'wraps'), { recursive: true });
    await assert.rejects(house.registry.custody.restoreEscrow(ADA), { code: 'registry.escrow-malformed' });
    clock.advance(7 * DAY_MS);
    await house.close();
    await reopen();
    assert.deepEqual(await escrow.list(''), []);
    assert.equal((await entriesOf('registry.escrow-expire')).length, 2);
  });
});

describe('prune', () => {
  test('takes what no rule keeps, and a dry run says first why each other stays', async () => {
    await publish(8);
    const { registry } = house;
    const { custody } = registry;
    await registry.promote('flow', '1.0.0', 'champion', ADA);
    clock.advance(2 * DAY_MS);
    await registry.promote('flow', '1.1.0', 'champion', ADA);
    await registry.promote('flow', '1.2.0', 'champion', ADA);
    await registry.promote('flow', '1.3.0', 'shadow', ADA);
    clock.advance(400 * DAY_MS);
    await custody.hold('flow', '1.4.0', { reason: 'case' }, ADA);
    const dry = await custody.prune(
      'flow',
      { keep: 1, keepDays: 406, dryRun: true, serving: () => ['1.5.0'] },
      ADA,
    );
    assert.deepEqual(
      dry.versions.map(({ version, stays }) => [version, ...stays]),
      [
        ['1.7.0', 'newest', 'young'],
        ['1.6.0', 'young'],
        ['1.5.0', 'serving', 'young'],
        ['1.4.0', 'held'],
        ['1.3.0', 'aliased'],
        ['1.2.0', 'aliased', 'audited'],
        ['1.1.0', 'rollback-target'],
        ['1.0.0'],
      ],
    );
    assert.deepEqual(dry.pruned, ['1.0.0']);
    assert.equal((await registry.list()).filter(({ state }) => state === 'live').length, 8);
    assert.deepEqual(await entriesOf('model.prune'), []);
    const done = await custody.prune('flow', { keep: 1, keepDays: 0 }, ADA);
    assert.deepEqual(done.pruned, ['1.6.0', '1.5.0', '1.0.0']);
    await house.close();
    await reopen();
    const gone = (await house.registry.list()).filter(({ state }) => state === 'pruned');
    assert.deepEqual(
      gone.map(({ version }) => version),
      ['1.0.0', '1.5.0', '1.6.0'],
    );
    assert.equal((await house.db.wraps.list()).length, 5);
    assert.equal(await house.blobs.has(blobNames('flow', '1.0.0').weights), false);
    await assert.rejects(house.registry.verify('flow@1.0.0'), { code: 'registry.version-pruned' });
    assert.equal((await house.registry.rollback('flow', 'champion', ADA)).version, '1.1.0');
    assert.deepEqual((await house.registry.history('flow')).length, 5);
  });

  test('keeps a version that was champion within the audit period', async () => {
    await publish(3);
    await house.registry.promote('flow', '1.0.0', 'champion', ADA);
    clock.advance(300 * DAY_MS);
    await house.registry.promote('flow', '1.1.0', 'champion', ADA);
    await house.registry.promote('flow', '1.2.0', 'champion', ADA);
    clock.advance(200 * DAY_MS);
    const stays = async () =>
      (await house.registry.custody.prune('flow', { keep: 0, keepDays: 0, dryRun: true }, ADA)).versions.at(
        -1,
      )?.stays;
    assert.deepEqual(await stays(), ['audited']);
    clock.advance(166 * DAY_MS);
    assert.deepEqual(await stays(), []);
  });

  test('leaves alone a version that the database tells otherwise than the log', async () => {
    await publish(2);
    clock.advance(400 * DAY_MS);
    await house.db.versions.delete('flow', '1.0.0');
    const { versions } = await house.registry.custody.prune('flow', { keep: 1, keepDays: 0 }, ADA);
    assert.deepEqual(versions.at(-1)?.stays, ['not-in-log']);
  });

  test('of an erased version may be followed by nothing, and an erase may follow a prune', async () => {
    await publish(2);
    clock.advance(400 * DAY_MS);
    await house.registry.custody.prune('flow', { keep: 1, keepDays: 0 }, ADA);
    assert.equal(
      (await house.registry.custody.erase('flow', '1.0.0', { reason: 'r' }, ADA)).state,
      'complete',
    );
    assert.deepEqual((await house.registry.custody.prune('flow', { keep: 1, keepDays: 0 }, ADA)).pruned, []);
    await assert.rejects(house.registry.verify('flow@1.0.0'), { code: 'registry.version-erased' });
  });
});

describe('lineage', () => {
  test('names the parent, the data and what a version replaced', async () => {
    await publish(1);
    await house.registry.promote('flow', '1.0.0', 'champion', ADA);
    await publish(1);
    await house.registry.promote('flow', '1.1.0', 'champion', ADA);
    const first = await house.registry.custody.lineage('flow', '1.0.0');
    const second = await house.registry.custody.lineage('flow', '1.1.0');
    assert.deepEqual([first.parent, first.predecessor], [undefined, undefined]);
    assert.deepEqual([second.parent?.version, second.predecessor], ['1.0.0', '1.0.0']);
    assert.deepEqual(
      second.replaced.map(({ alias, version }) => `${alias} ${version}`),
      ['champion 1.0.0'],
    );
    assert.deepEqual(
      first.replacedBy.map(({ alias, version }) => `${alias} ${version}`),
      ['champion 1.1.0'],
    );
    const { manifest } = await house.registry.show('flow@1.1.0');
    assert.equal(second.data.training, manifest.dataDigest);
    assert.equal(second.data.schema, manifest.schemaId);
  });

  test('is refused where a file differs from what was signed', async () => {
    await publish(1);
    const { gates } = blobNames('flow', '1.0.0');
    const bytes = Buffer.from(await house.blobs.get(gates));
    await house.blobs.delete(gates);
    await assert.rejects(house.registry.custody.lineage('flow', '1.0.0'), { code: 'registry.file-tampered' });
    await house.blobs.put(gates, Buffer.from(bytes.toString().replace('0.9', '0.8')));
    await assert.rejects(house.registry.custody.card('flow', '1.0.0'), { code: 'registry.file-tampered' });
  });
});
