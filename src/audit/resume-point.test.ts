import assert from 'node:assert/strict';
import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { clock, emptyPlace, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import { writeBulkLog } from '../../test/support/bulk-audit-log.ts';
import type { FileKeyStore } from '../crypto/index.ts';
import type { AuditInput } from './entry.ts';
import { AuditError } from './errors.ts';
import { leafHash, perfectRoot } from './merkle.ts';
import { openAuditLog } from './open-audit-log.ts';
import { parseResumePoint, RESUME_SPACING, readResumeText, resumePath, resumeTree } from './resume-point.ts';
import { framedEntries, frameEntry, tilePath } from './tile-files.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

let keys: FileKeyStore;
let logPublicKeyPem: string;
const COUNT = 3 * RESUME_SPACING + 300;

before(async () => {
  ({ keys, logPublicKeyPem } = await memoryKeys());
});

const openAt = (folder: string) => openAuditLog({ folder, keys, clock, policy: onDemand });
const verify = (folder: string, outsideCheckpoint?: string) =>
  verifyAuditLog({ folder, logPublicKeyPem, ...(outsideCheckpoint !== undefined && { outsideCheckpoint }) });

/** Intent 100 stays open, 101 is closed by 9,000 entries later. */
function entry(n: number): AuditInput {
  const { action, principal, subject, detail } = note(n);
  if (n === 100 || n === 101) return { kind: 'intent', action, principal, subject, detail };
  if (n === 9101) return { kind: 'outcome', action, principal, subject, detail, intent: 101, result: 'done' };
  return note(n);
}

test('opens from the resume point with the tree, the open intents and the entries of a full recomputation', async (t) => {
  const folder = await emptyPlace(t);
  const text = await writeBulkLog({ folder, keys, count: COUNT, entry });
  const origin = text.split('\n')[0] ?? '';
  const point = parseResumePoint(await readResumeText(folder), origin, [logPublicKeyPem]);
  assert.equal(point?.size, 2 * RESUME_SPACING);
  assert.deepEqual(point?.openIntents, [100, 101]);
  assert.equal((await resumeTree(folder, point))?.range.size, 2 * RESUME_SPACING);

  const full = `${folder}-full`;
  await cp(folder, full, { recursive: true });
  await rm(resumePath(full));
  for (const place of [folder, full]) {
    const log = await openAt(place);
    assert.equal(log.size, COUNT);
    assert.deepEqual(
      (await log.openIntents()).map(({ index }) => index),
      [100],
    );
    let n = 0;
    for await (const { index, entry: read } of log.entries()) {
      assert.equal(index, n++);
      assert.equal(read.subject, `s${index}`);
    }
    await log.inclusionProof(5);
    await log.consistencyProof(700, COUNT);
    await log.append({ ...entry(9101), intent: 100 });
    await log.close();
  }
  assert.deepEqual(await readFile(join(folder, 'checkpoint')), await readFile(join(full, 'checkpoint')));
  assert.equal((await verify(folder, text)).size, COUNT + 1);
});

test('finds what was changed behind the resume point when it is read, and all of it in a verification', async (t) => {
  const folder = await emptyPlace(t);
  await writeBulkLog({ folder, keys, count: COUNT, entry });
  const bundle = join(folder, tilePath('entries', 2));
  const good = await readFile(bundle);
  const changed = Buffer.from(good.toString('latin1').replace('"s515"', '"s599"'), 'latin1');
  await writeFile(bundle, changed);
  const log = await openAt(folder);
  await assert.rejects(log.entry(515), { code: 'audit.entry-changed' });
  assert.equal((await log.entry(516)).subject, 's516', 'its neighbours are what they were');
  // With the stored hashes rewritten up to level 1, too: they no longer lead to the signed root.
  const leaves = Buffer.concat([...framedEntries(changed)].map(leafHash));
  const [tile0, tile1] = [join(folder, tilePath(0, 2)), join(folder, tilePath(1, 0))];
  const [good0, good1] = [await readFile(tile0), await readFile(tile1)];
  await writeFile(tile0, leaves);
  await writeFile(tile1, Buffer.concat([good1.subarray(0, 64), perfectRoot(leaves), good1.subarray(96)]));
  await assert.rejects(log.entry(515), { code: 'audit.entry-changed' });
  await assert.rejects(log.inclusionProof(515), { code: 'audit.tile-mismatch' });
  await log.close();
  await assert.rejects(verify(folder), { category: 'security' });
  await assert.rejects(openAt(folder), { category: 'security' }, 'level 1 is the right edge here');
  await writeFile(tile1, good1);
  await writeFile(tile0, good0);
  await writeFile(bundle, good);
  await rm(join(folder, tilePath('entries', 1)));
  const other = await openAt(folder);
  await assert.rejects(other.entry(300), { code: 'audit.truncated' });
  await other.close();
});

test('recomputes everything where the resume point is gone, malformed, of another log or of another key', async (t) => {
  const folder = await emptyPlace(t);
  await writeBulkLog({ folder, keys, count: COUNT, entry });
  const good = await readResumeText(folder);
  const stranger = await memoryKeys();
  const foreign = await emptyPlace(t);
  await writeBulkLog({ folder: foreign, keys: stranger.keys, count: COUNT, entry });
  const texts = [
    '',
    'nothing',
    good.slice(0, -3),
    good.replace('\nopen 100\n', '\n'),
    good.replace(`\n${2 * RESUME_SPACING}\n`, `\n${RESUME_SPACING}\n`),
    await readFile(join(folder, 'checkpoint'), 'utf8'),
    await readResumeText(foreign),
  ];
  // Found by a full recomputation alone.
  await truncate(join(folder, tilePath(0, 1)), 32);
  await (await openAt(folder)).close();
  for (const text of texts) {
    await writeFile(resumePath(folder), text);
    await assert.rejects(openAt(folder), { code: 'audit.tile-mismatch' }, JSON.stringify(text));
  }
});

test('takes a resume point ahead of the checkpoint for a log that was rolled back', async (t) => {
  const folder = await emptyPlace(t);
  await writeBulkLog({ folder, keys, count: COUNT, entry });
  const shorter = await emptyPlace(t);
  await writeBulkLog({ folder: shorter, keys, count: 600, entry });
  await writeFile(resumePath(shorter), await readResumeText(folder));
  for (const check of [openAt, verify]) {
    await assert.rejects(check(shorter), { code: 'audit.rolled-back' });
  }
});

test('stores a resume point by itself once enough entries follow, also after a reopening', async (t) => {
  const folder = await emptyPlace(t);
  const log = await openAt(folder);
  const append = (count: number) => Promise.all(Array.from({ length: count }, (_, n) => log.append(note(n))));
  await append(2 * RESUME_SPACING - 1);
  const { origin } = await log.checkpoint();
  assert.equal(await readResumeText(folder), '');
  await log.append(note(0));
  await log.close();
  const read = async () => parseResumePoint(await readResumeText(folder), origin, [logPublicKeyPem]);
  assert.equal((await read())?.size, RESUME_SPACING);
  const again = await openAt(folder);
  await Promise.all(Array.from({ length: RESUME_SPACING }, (_, n) => again.append(note(n))));
  await again.close();
  assert.equal((await read())?.size, 2 * RESUME_SPACING);
  assert.equal((await verify(folder)).size, 3 * RESUME_SPACING);
});

test('names each of the ways to alter a log, and finds each when it is opened and when it is verified', async (t) => {
  const whole = await emptyPlace(t);
  const outside = await writeBulkLog({ folder: whole, keys, count: 700, entry });
  const older = await emptyPlace(t);
  await writeBulkLog({ folder: older, keys, count: 600, entry });
  const rewrite = (bundle: number, change: (entries: Buffer[]) => Buffer[]) => async (folder: string) => {
    const path = join(folder, tilePath('entries', bundle));
    await writeFile(path, Buffer.concat(change([...framedEntries(await readFile(path))]).map(frameEntry)));
  };
  const swapped = (entries: Buffer[]) => [entries[1]!, entries[0]!, ...entries.slice(2)];
  const stranger = await memoryKeys();
  const cases: readonly {
    name: string;
    alter: (folder: string) => Promise<unknown>;
    code: string;
    /** A log rolled back as a whole is whole: without a copy kept elsewhere nothing tells. */
    outsideOnly?: boolean;
  }[] = [
    {
      name: 'changed entry',
      alter: rewrite(1, (e) => [
        ...e.slice(0, 9),
        Buffer.from(`${e[9]}`.replace('tester', 'nobody')),
        ...e.slice(10),
      ]),
      code: 'audit.entry-changed',
    },
    { name: 'removed entry', alter: rewrite(1, (e) => e.toSpliced(9, 1)), code: 'audit.truncated' },
    { name: 'removed last entry', alter: rewrite(2, (e) => e.slice(0, -1)), code: 'audit.truncated' },
    { name: 'reordered entries', alter: rewrite(1, swapped), code: 'audit.entry-changed' },
    {
      name: 'rewritten tail',
      alter: async (folder) => {
        await rewrite(2, (e) => e.map((each) => Buffer.from(`${each}`.replace('tester', 'nobody'))))(folder);
        const bundle = await readFile(join(folder, tilePath('entries', 2)));
        await writeFile(
          join(folder, tilePath(0, 2)),
          Buffer.concat([...framedEntries(bundle)].map(leafHash)),
        );
      },
      code: 'audit.root-mismatch',
    },
    {
      name: 'forged checkpoint',
      alter: async (folder) => {
        const forged = await emptyPlace(t);
        const text = await writeBulkLog({ folder: forged, keys: stranger.keys, count: 700, entry });
        await writeFile(join(folder, 'checkpoint'), text);
      },
      code: 'audit.checkpoint-forged',
    },
    {
      name: 'rolled-back log',
      alter: async (folder) => {
        await rm(folder, { recursive: true });
        await cp(older, folder, { recursive: true });
      },
      code: 'audit.rolled-back',
      outsideOnly: true,
    },
  ];
  for (const { name, alter, code, outsideOnly } of cases) {
    const folder = `${whole}-altered`;
    await cp(whole, folder, { recursive: true });
    await alter(folder);
    const found = (error: unknown) => {
      assert.ok(error instanceof AuditError && error.code === code, `${name}: ${error}`);
      return true;
    };
    await assert.rejects(verify(folder, outside), found);
    if (outsideOnly !== true) await assert.rejects(openAt(folder), found);
    else assert.equal((await verify(folder)).size, 600);
    await rm(folder, { recursive: true });
  }
  await verify(whole, outside);
});
