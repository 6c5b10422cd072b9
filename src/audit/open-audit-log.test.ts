import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { clock, emptyPlace, filesUnder, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import type { FileKeyStore } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import { AuditError } from './errors.ts';
import { openAuditLog } from './open-audit-log.ts';
import { tilePath } from './tile-files.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

let keys: FileKeyStore;
let logPublicKeyPem: string;

before(async () => {
  ({ keys, logPublicKeyPem } = await memoryKeys());
});

const openAt = (folder: string): Promise<AuditLog> => openAuditLog({ folder, keys, clock, policy: onDemand });
const verify = (folder: string, outsideCheckpoint?: string) =>
  verifyAuditLog({
    folder,
    logPublicKeyPem,
    ...(outsideCheckpoint === undefined ? {} : { outsideCheckpoint }),
  });

/** A closed log; or, with `covered`, what a crash leaves of one whose checkpoint covers that many. */
async function filled(t: TestContext, count: number, covered = count): Promise<string> {
  const folder = await emptyPlace(t);
  const log = await openAt(folder);
  const append = (from: number, to: number) =>
    Promise.all(Array.from({ length: to - from }, (_, i) => log.append(note(from + i))));
  await append(0, covered);
  await log.checkpoint();
  await append(covered, count);
  const copy = `${folder}-copy`;
  await cp(folder, copy, { recursive: true });
  await log.close();
  return copy;
}

async function* flippedBytes(folder: string): AsyncGenerator<string> {
  for (const file of await filesUnder(folder)) {
    const good = await readFile(file);
    for (let i = 0; i < good.length; i++) {
      const bad = Buffer.from(good);
      bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
      await writeFile(file, bad);
      yield `byte ${i} of ${file}`;
    }
    await writeFile(file, good);
  }
}

async function edit(path: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  await writeFile(path, change(await readFile(path)));
}

test('appends in order, reads back, and verifies after a clean close with nothing uncovered', async (t) => {
  const folder = await emptyPlace(t);
  const log = await openAt(folder);
  await assert.rejects(openAt(folder), { code: 'audit.in-use' });
  const indices = await Promise.all(Array.from({ length: 600 }, (_, i) => log.append(note(i))));
  assert.ok(indices.every((index, i) => index === i));
  assert.equal(log.size, 600);
  assert.equal((await log.entry(257)).subject, 's257');
  let n = 250;
  for await (const { index, entry } of log.entries(250, 520)) {
    assert.equal(index, n);
    assert.equal(entry.subject, `s${n}`);
    n++;
  }
  assert.equal(n, 520);
  await assert.rejects(log.entry(600), { code: 'audit.entry-missing' });
  await log.close();
  await log.close();
  await assert.rejects(log.append(note(0)), { code: 'audit.closed' });
  const { size, uncovered, verified } = await verify(folder);
  assert.deepEqual({ size, uncovered, verified }, { size: 600, uncovered: 0, verified: true });
  const again = await openAt(folder);
  assert.equal(again.size, 600, 'a clean start adds nothing');
  assert.equal(await again.append(note(600)), 600);
  await again.close();
  assert.equal((await verify(folder)).size, 601);
});

test('refuses every flipped byte of a small closed log with a security error', async (t) => {
  const folder = await filled(t, 3);
  const codes = new Set<string>();
  for await (const what of flippedBytes(folder)) {
    for (const check of [verify, openAt]) {
      await assert.rejects(check(folder), (error) => {
        assert.ok(error instanceof AuditError && error.category === 'security', `${what}: ${error}`);
        codes.add(error.code);
        return true;
      });
    }
  }
  assert.deepEqual([...codes].sort(), [
    'audit.checkpoint-forged',
    'audit.entry-changed',
    'audit.tile-mismatch',
  ]);
  await verify(folder);
});

test('refuses every flipped byte of entries after the last checkpoint too', async (t) => {
  const folder = await filled(t, 3, 1);
  for await (const what of flippedBytes(folder)) {
    await assert.rejects(verify(folder), { category: 'security' }, what);
    await assert.rejects(openAt(folder), { category: 'security' }, what);
  }
  assert.equal((await verify(folder)).uncovered, 2);
});

test('names what is wrong with a log that was altered by someone who knows the format', async (t) => {
  const whole = await filled(t, 520);
  const entries = tilePath('entries', 1);
  const cases: Record<string, (folder: string) => Promise<unknown>> = {
    'audit.truncated entries removed': (f) => truncate(join(f, tilePath('entries', 2)), 0),
    'audit.truncated last bundle removed': async (f) => {
      await rm(join(f, tilePath('entries', 2)));
      await rm(join(f, tilePath(0, 2)));
    },
    'audit.truncated middle bundle removed': (f) => rm(join(f, entries)),
    'audit.truncated middle bundle and tile removed': async (f) => {
      await rm(join(f, entries));
      await rm(join(f, tilePath(0, 1)));
    },
    'audit.checkpoint-missing removed': (f) => rm(join(f, 'checkpoint')),
    'audit.tile-mismatch level 0 removed': (f) => rm(join(f, tilePath(0, 0))),
    'audit.tile-mismatch level 0 zeroed': (f) => writeFile(join(f, tilePath(0, 1)), Buffer.alloc(8192)),
    'audit.tile-mismatch level 0 flipped': (f) =>
      edit(join(f, tilePath(0, 1)), (b) => b.fill(b[40]! ^ 1, 40, 41)),
    'audit.tile-mismatch level 1 removed': (f) => rm(join(f, tilePath(1, 0))),
    'audit.tile-mismatch level 1 flipped': (f) =>
      edit(join(f, tilePath(1, 0)), (b) => b.fill(b[40]! ^ 1, 40, 41)),
    'audit.truncated level 1 longer': (f) =>
      edit(join(f, tilePath(1, 0)), (b) => Buffer.concat([b, Buffer.alloc(32, 1)])),
    'audit.truncated a second level 2': async (f) => {
      await mkdir(join(f, 'tile', '2'));
      await writeFile(join(f, tilePath(2, 0)), Buffer.alloc(32, 1));
    },
    'audit.truncated a hash without entry': (f) =>
      edit(join(f, tilePath(0, 2)), (b) => Buffer.concat([b, Buffer.alloc(32, 1)])),
    'audit.entry-changed bytes after a full bundle': (f) =>
      edit(join(f, entries), (b) => Buffer.concat([b, Buffer.from('hidden')])),
    'audit.truncated bundle after the end': (f) => writeFile(join(f, tilePath('entries', 3)), 'hidden'),
    'audit.root-mismatch entry and hash rewritten': async (f) => {
      const { leafHash } = await import('./merkle.ts');
      const { framedEntries } = await import('./tile-files.ts');
      await edit(join(f, entries), (b) =>
        Buffer.from(b.toString('latin1').replace('"s300"', '"s399"'), 'latin1'),
      );
      const bundle = await readFile(join(f, entries));
      await writeFile(join(f, tilePath(0, 1)), Buffer.concat([...framedEntries(bundle)].map(leafHash)));
      await edit(join(f, tilePath(1, 0)), (b) => b);
    },
    'audit.checkpoint-forged size': (f) =>
      edit(join(f, 'checkpoint'), (b) => Buffer.from(b.toString().replace('\n520\n', '\n519\n'))),
    'audit.checkpoint-forged empty': (f) => writeFile(join(f, 'checkpoint'), ''),
    'audit.checkpoint-forged no signature': (f) =>
      edit(join(f, 'checkpoint'), (b) => Buffer.from(`${b.toString().split('\n\n')[0]}\n\n`)),
  };
  for (const [name, alter] of Object.entries(cases)) {
    const folder = `${whole}-altered`;
    await cp(whole, folder, { recursive: true });
    await alter(folder);
    const code = name.split(' ')[0] ?? '';
    // The level above differs first where a whole tile was rewritten: either way it is found.
    const accepted = code === 'audit.root-mismatch' ? [code, 'audit.tile-mismatch'] : [code];
    for (const check of [verify, openAt]) {
      await assert.rejects(check(folder), (error) => {
        assert.ok(error instanceof AuditError && accepted.includes(error.code), `${name}: ${error}`);
        return true;
      });
    }
    await rm(folder, { recursive: true });
  }
  await verify(whole);
});

test('finds a history that was rewritten whole, by the signed root', async (t) => {
  const folder = await filled(t, 3);
  const other = await filled(t, 4, 3);
  await edit(join(other, tilePath('entries', 0)), (b) =>
    Buffer.from(b.toString('latin1').replace('"s1"', '"s9"'), 'latin1'),
  );
  const { leafHash } = await import('./merkle.ts');
  const { framedEntries } = await import('./tile-files.ts');
  const bundle = await readFile(join(other, tilePath('entries', 0)));
  await writeFile(join(other, tilePath(0, 0)), Buffer.concat([...framedEntries(bundle)].map(leafHash)));
  await assert.rejects(verify(other), { code: 'audit.root-mismatch' });
  await assert.rejects(openAt(other), { code: 'audit.root-mismatch' });
  await verify(folder);
});

test('refuses the checkpoint of another log, of another key, and of a revoked key', async (t) => {
  const folder = await filled(t, 2);
  const other = await filled(t, 2);
  const stranger = await memoryKeys();
  await assert.rejects(verifyAuditLog({ folder, logPublicKeyPem: stranger.logPublicKeyPem }), {
    code: 'audit.checkpoint-forged',
  });
  await assert.rejects(verifyAuditLog({ folder, logPublicKeyPem: 'no key' }), {
    code: 'audit.checkpoint-forged',
  });
  await assert.rejects(openAuditLog({ folder, keys: stranger.keys, clock }), {
    code: 'audit.checkpoint-forged',
  });
  await assert.rejects(openAuditLog({ folder, keys, clock, origin: 'another/log' }), {
    code: 'audit.checkpoint-forged',
  });
  const outside = await readFile(join(other, 'checkpoint'), 'utf8');
  await assert.rejects(verify(folder, outside), { code: 'audit.rolled-back' });
  await assert.rejects(openAuditLog({ folder: `${folder}-new`, keys, clock, origin: 'with space' }), {
    code: 'audit.checkpoint-forged',
  });
});

test('goes on under a new log key, and no longer trusts the old one once it is revoked', async (t) => {
  const { keys: own, logPublicKeyPem: oldPem } = await memoryKeys();
  const folder = await emptyPlace(t);
  const log = await openAuditLog({ folder, keys: own, clock, policy: onDemand, origin: 'example.com/log' });
  await log.append(note(0));
  const before = await log.checkpoint();
  assert.equal(await log.checkpoint(), before, 'what is covered is not signed again');
  // The file behind these keys is gone with its folder, so the rotation is simulated by a wrapper.
  const fresh = await memoryKeys();
  await log.close();
  const freshInfo = await fresh.keys.active('log-signing');
  const oldInfo = await own.active('log-signing');
  const rotated = Object.create(own, {
    active: { value: async () => freshInfo },
    sign: { value: (id: string, message: Uint8Array) => fresh.keys.sign(id, message) },
    list: { value: async () => [freshInfo, { ...oldInfo, state: 'retired' }] },
  });
  const again = await openAuditLog({ folder, keys: rotated, clock, policy: onDemand });
  const resigned = await again.checkpoint();
  assert.equal(resigned.root, before.root);
  assert.notEqual(resigned.text, before.text, 'the same tree, signed by the new key');
  await again.append(note(1));
  await again.close();
  const freshPem = freshInfo.publicKeyPem ?? '';
  await assert.rejects(verifyAuditLog({ folder, logPublicKeyPem: oldPem }), {
    code: 'audit.checkpoint-forged',
  });
  assert.equal(
    (await verifyAuditLog({ folder, logPublicKeyPem: [oldPem, freshPem] })).origin,
    'example.com/log',
  );
  const revoked = Object.create(own, { list: { value: async () => [{ ...freshInfo, state: 'revoked' }] } });
  await assert.rejects(openAuditLog({ folder, keys: revoked, clock }), { code: 'audit.checkpoint-forged' });
});

test('finds a log that was rolled back, by a checkpoint kept elsewhere and by that alone', async (t) => {
  const folder = await emptyPlace(t);
  const log = await openAt(folder);
  await log.append(note(0));
  await log.checkpoint();
  const older = `${folder}-older`;
  await cp(folder, older, { recursive: true });
  await log.append(note(1));
  const outside = await log.checkpoint();
  await log.append(note(2));
  await log.close();
  assert.equal((await verify(folder, outside.text)).size, 3);
  assert.equal((await verify(older)).size, 1, 'inside alone the older state looks whole');
  await assert.rejects(verify(older, outside.text), { code: 'audit.rolled-back' });
  const resumed = await openAt(older);
  await resumed.append(note(7));
  await resumed.append(note(8));
  await resumed.close();
  await assert.rejects(
    verify(older, outside.text),
    { code: 'audit.rolled-back' },
    'nor does another future help',
  );
});

test('cuts a write that a crash tore, wherever it tore, keeps what was whole, and says so', async (t) => {
  const crashed = await filled(t, 4, 2);
  const bundle = await readFile(join(crashed, tilePath('entries', 0)));
  const tile = await readFile(join(crashed, tilePath(0, 0)));
  const ends: number[] = [];
  for (let at = 0; at < bundle.length; at += 2 + bundle.readUInt16BE(at))
    ends.push(at + 2 + bundle.readUInt16BE(at));
  const third = ends[2] ?? 0;
  for (let length = third; length < bundle.length; length += 3) {
    const folder = `${crashed}-torn`;
    await cp(crashed, folder, { recursive: true });
    await writeFile(join(folder, tilePath('entries', 0)), bundle.subarray(0, length));
    // The hash of an entry is written after the entry was synced, so a torn entry has none.
    await writeFile(join(folder, tilePath(0, 0)), tile.subarray(0, 3 * 32));
    const log = await openAt(folder);
    assert.equal(log.size, 4);
    const { action, detail } = await log.entry(3);
    assert.equal(action, 'audit.recover');
    assert.deepEqual(detail, { checkpointSize: 2, entriesAfterCheckpoint: 1, tornBytes: length - third });
    await log.close();
    assert.equal((await verify(folder)).size, 4);
    await rm(folder, { recursive: true });
  }
});

test('writes stored hashes again that a power loss took after the checkpoint', async (t) => {
  const crashed = await filled(t, 300, 200);
  const lost: Record<string, (folder: string) => Promise<unknown>> = {
    'the last tile': (f) => rm(join(f, tilePath(0, 1))),
    'both upper tiles': async (f) => {
      await rm(join(f, tilePath(0, 1)));
      await rm(join(f, tilePath(1, 0)));
    },
    'the tail of a tile': (f) => truncate(join(f, tilePath(0, 0)), 200 * 32 + 5),
    'a page of zeros': (f) => edit(join(f, tilePath(0, 0)), (b) => b.fill(0, 210 * 32, 220 * 32)),
  };
  for (const [name, lose] of Object.entries(lost)) {
    const folder = `${crashed}-lost`;
    await cp(crashed, folder, { recursive: true });
    await lose(folder);
    const log = await openAt(folder);
    assert.equal(log.size, 301, name);
    await log.inclusionProof(250);
    await log.consistencyProof(200, 301);
    await log.close();
    assert.equal((await verify(folder)).size, 301, name);
    await rm(folder, { recursive: true });
  }
});

test('cuts zeros at the end, as some file systems leave them after a power loss', async (t) => {
  const crashed = await filled(t, 3, 2);
  await edit(join(crashed, tilePath('entries', 0)), (b) => Buffer.concat([b, Buffer.alloc(4096)]));
  await edit(join(crashed, tilePath(0, 0)), (b) => Buffer.concat([b, Buffer.alloc(4096)]));
  const log = await openAt(crashed);
  assert.equal(log.size, 4);
  await log.close();
  assert.equal((await verify(crashed)).uncovered, 0);
});

test('says where there is no log, and begins one only in an empty folder', async (t) => {
  const folder = await emptyPlace(t);
  await assert.rejects(verify(folder), { code: 'audit.log-missing' });
  const log = await openAt(folder);
  assert.match(log.origin, /^ai-guardian\/[0-9a-f]{16}$/);
  assert.equal((await log.checkpoint()).size, 0);
  await log.close();
  assert.equal(
    (await verify(folder)).root,
    '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
    'the hash of nothing',
  );
});

test('verifies a log while it is being written, and never takes growth for tampering', async (t) => {
  const folder = await emptyPlace(t);
  const log = await openAuditLog({ folder, keys, clock, policy: { entries: 64, delayMs: 2 ** 30 } });
  let isWriting = true;
  const writing = (async () => {
    for (let n = 0; n < 540; n += 9) {
      await Promise.all(Array.from({ length: 9 }, (_, i) => log.append(note(n + i))));
    }
    isWriting = false;
  })();
  let last = 0;
  let rounds = 0;
  while (isWriting) {
    const { size } = await verify(folder);
    assert.ok(size >= last);
    last = size;
    rounds++;
  }
  await writing;
  assert.ok(rounds > 1);
  await log.close();
  assert.equal((await verify(folder)).size, 540);
});

test('a close writes what still waits, and a checkpoint on demand gets its turn', async (t) => {
  const folder = await emptyPlace(t);
  const log = await openAt(folder);
  const waiting = Promise.all(Array.from({ length: 700 }, (_, n) => log.append(note(n))));
  const { size } = await log.checkpoint();
  assert.ok(size < 700, 'signed between two batches');
  await log.close();
  assert.equal((await waiting).length, 700);
  assert.equal((await verify(folder)).size, 700);
});
