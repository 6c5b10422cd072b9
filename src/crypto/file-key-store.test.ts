import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { armFaultPoints, ManualClock } from '../base/index.ts';
import { createFileKeyStore, openFileKeyStore } from './file-key-store.ts';
import { SecretBuffer } from './secret-buffer.ts';
import { verifySignature } from './signatures.ts';
import { isUnlockRecord, type UnlockSecret } from './unlock-secret.ts';

const clock = new ManualClock();
/** The least argon2id allows in practice: these tests are about the format, not about the cost. */
const passphraseCost = { memory: 32, passes: 1, parallelism: 1 };

async function place(t: TestContext): Promise<{ path: string; secret: UnlockSecret & { kind: 'file' } }> {
  const folder = await mkdtemp(join(tmpdir(), 'keys-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return {
    path: join(folder, 'state', 'keys.json'),
    secret: { kind: 'file', path: join(folder, 'config', 'unlock.key') },
  };
}

test('makes one active key of every purpose, opens again, and signs the same', async (t) => {
  const at = await place(t);
  const made = await createFileKeyStore({ ...at, clock });
  const keys = await made.list();
  assert.deepEqual(
    keys.map((key) => [key.purpose, key.algorithm, key.state, key.createdAt]),
    [
      ['model-signing', 'ecdsa-p256', 'active', '2026-01-01T00:00:00.000Z'],
      ['evaluator-signing', 'ecdsa-p256', 'active', '2026-01-01T00:00:00.000Z'],
      ['log-signing', 'ed25519', 'active', '2026-01-01T00:00:00.000Z'],
      ['wrapping', 'aes-256', 'active', '2026-01-01T00:00:00.000Z'],
    ],
  );
  await made.close();
  const opened = await openFileKeyStore({ ...at, clock });
  assert.deepEqual(await opened.list(), keys);
  const message = Buffer.from('a message');
  for (const purpose of ['model-signing', 'evaluator-signing', 'log-signing'] as const) {
    const key = await opened.active(purpose);
    const signature = await opened.sign(key.id, message);
    assert.ok(verifySignature(key.publicKeyPem ?? '', key.algorithm, message, signature));
    assert.ok(!verifySignature(key.publicKeyPem ?? '', key.algorithm, Buffer.from('another'), signature));
  }
  const { id } = await opened.active('wrapping');
  const wrapped = await opened.wrap(id, SecretBuffer.from(Buffer.alloc(32, 7)));
  const back = await opened.unwrap(id, wrapped);
  assert.ok(back.use((bytes) => bytes.every((b) => b === 7)));
  await opened.close();
});

test('refuses every single changed byte of keys.json, and every truncation', async (t) => {
  const at = await place(t);
  await (await createFileKeyStore({ ...at, clock })).close();
  const good = await readFile(at.path);
  const refuses = async (bytes: Uint8Array, what: string) => {
    await writeFile(at.path, bytes);
    await assert.rejects(openFileKeyStore({ ...at, clock }), { code: 'crypto.integrity' }, what);
  };
  for (let i = 0; i < good.length; i++) {
    const bad = Buffer.from(good);
    bad[i] = (bad[i] ?? 0) ^ (1 << (i % 8));
    await refuses(bad, `byte ${i} flipped`);
  }
  for (let length = 0; length < good.length; length += 7)
    await refuses(good.subarray(0, length), `cut at ${length}`);
  await refuses(Buffer.concat([good, Buffer.from(' ')]), 'a byte appended');
});

test('refuses a changed field even where the plain digest is made to fit', async (t) => {
  const { sha256Hex } = await import('./digest.ts');
  const { canonicalJson } = await import('./canonical-json.ts');
  const at = await place(t);
  await (await createFileKeyStore({ ...at, clock })).close();
  const good = JSON.parse(await readFile(at.path, 'utf8'));
  const cases: Record<string, (file: typeof good) => void> = {
    'crypto.integrity state': (file) => {
      file.keys[0].state = 'revoked';
    },
    'crypto.integrity public key': (file) => {
      file.keys[0].publicKeyPem = file.keys[1].publicKeyPem;
    },
    'crypto.integrity id': (file) => {
      file.keys[3].id = 'wrapping-0000000000000000';
    },
    'crypto.integrity order': (file) => {
      file.keys.reverse();
    },
    'crypto.integrity dropped key': (file) => {
      file.keys.pop();
    },
    'crypto.integrity nonce': (file) => {
      file.nonce = Buffer.alloc(12).toString('base64');
    },
    'crypto.integrity sealed': (file) => {
      file.sealed = file.sealed.replace(/^..../, 'AAAA');
    },
    'crypto.integrity short sealed': (file) => {
      file.sealed = 'AAAA';
    },
    'crypto.integrity algorithm': (file) => {
      file.keys[0].algorithm = 'ed25519';
    },
    'crypto.unlock-refused check': (file) => {
      file.check = Buffer.alloc(16).toString('base64');
    },
    'crypto.unlock-refused salt': (file) => {
      file.unlock.salt = Buffer.alloc(32).toString('base64');
    },
  };
  for (const [name, alter] of Object.entries(cases)) {
    const { digest: _, ...body } = structuredClone(good);
    alter(body);
    await writeFile(at.path, `${canonicalJson({ ...body, digest: sha256Hex(canonicalJson(body)) })}\n`);
    await assert.rejects(openFileKeyStore({ ...at, clock }), { code: name.split(' ')[0] ?? '' }, name);
  }
});

test('opens by a passphrase, and refuses a wrong one and the other kind of secret', async (t) => {
  const { path, secret: file } = await place(t);
  const secret: UnlockSecret = {
    kind: 'passphrase',
    passphrase: SecretBuffer.from(Buffer.from('correct horse')),
  };
  await (await createFileKeyStore({ path, secret, clock, passphraseCost })).close();
  const stored = JSON.parse(await readFile(path, 'utf8'));
  assert.equal(stored.unlock.algorithm, 'argon2id');
  await (await openFileKeyStore({ path, secret, clock })).close();
  const wrong: UnlockSecret = { kind: 'passphrase', passphrase: SecretBuffer.from(Buffer.from('battery')) };
  await assert.rejects(openFileKeyStore({ path, secret: wrong, clock }), { code: 'crypto.unlock-refused' });
  await assert.rejects(openFileKeyStore({ path, secret: file, clock }), { code: 'crypto.unlock-refused' });
});

test('refuses stored argon2id costs that would be a trap', () => {
  const record = {
    kind: 'passphrase',
    algorithm: 'argon2id',
    salt: '',
    memory: 64,
    passes: 1,
    parallelism: 1,
  };
  assert.ok(isUnlockRecord(record));
  assert.ok(!isUnlockRecord({ ...record, memory: 2 ** 30 }));
  assert.ok(!isUnlockRecord({ ...record, passes: 1e6 }));
  assert.ok(!isUnlockRecord({ ...record, parallelism: 0 }));
  assert.ok(!isUnlockRecord({ ...record, algorithm: 'argon2i' }));
});

test('takes the unlock file that was put there, and writes nothing beside it', async (t) => {
  const at = await place(t);
  const folder = dirname(at.secret.path);
  await mkdir(folder);
  await writeFile(at.secret.path, Buffer.alloc(32, 5), { mode: 0o600 });
  // A file that was made there, were it for a moment, leaves its mark on the folder; a mounted secret's cannot be written.
  await utimes(folder, 1, 1);
  await (await createFileKeyStore({ ...at, clock })).close();
  assert.equal((await stat(folder)).mtimeMs, 1_000);
  assert.deepEqual(await readFile(at.secret.path), Buffer.alloc(32, 5));
  await (await openFileKeyStore({ ...at, clock })).close();
});

test('refuses an unlock file that is missing, of the wrong length, another one, or open to others', async (t) => {
  const at = await place(t);
  await (await createFileKeyStore({ ...at, clock })).close();
  const { path } = at.secret;
  const open = () => openFileKeyStore({ ...at, clock });
  await chmod(path, 0o644);
  await assert.rejects(open(), { code: 'crypto.unlock-exposed' });
  await chmod(path, 0o600);
  await writeFile(path, Buffer.alloc(32, 1));
  await assert.rejects(open(), { code: 'crypto.unlock-refused' });
  await writeFile(path, Buffer.alloc(31));
  await assert.rejects(open(), { code: 'crypto.unlock-refused' });
  await rm(path);
  await assert.rejects(open(), { code: 'crypto.unlock-missing' });
  await rm(at.path);
  await assert.rejects(open(), { code: 'crypto.store-missing' });
});

test('never overwrites a key store', async (t) => {
  const at = await place(t);
  await (await createFileKeyStore({ ...at, clock })).close();
  await assert.rejects(createFileKeyStore({ ...at, clock }), { code: 'crypto.store-exists' });
});

test('a new key retires the one before, which still unwraps and no longer wraps', async (t) => {
  const at = await place(t);
  const store = await createFileKeyStore({ ...at, clock });
  const old = await store.active('wrapping');
  const wrapped = await store.wrap(old.id, SecretBuffer.random(32));
  const [fresh] = await Promise.all([store.generate('wrapping'), store.generate('log-signing')]);
  assert.equal((await store.active('wrapping')).id, fresh.id);
  await store.close();
  const again = await openFileKeyStore({ ...at, clock });
  assert.equal((await again.list()).length, 6);
  assert.equal((await again.find(old.id))?.state, 'retired');
  assert.equal((await again.unwrap(old.id, wrapped)).length, 32);
  await assert.rejects(again.wrap(old.id, SecretBuffer.random(32)), { code: 'crypto.key-refused' });
  await again.revoke(old.id);
  await assert.rejects(again.unwrap(old.id, wrapped), { code: 'crypto.key-refused' });
  await assert.rejects(again.retire(old.id), { code: 'crypto.key-refused' });
});

test('refuses a key that is unknown or for another purpose, and everything once closed', async (t) => {
  const at = await place(t);
  const store = await createFileKeyStore({ ...at, clock });
  const signing = await store.active('model-signing');
  const wrapping = await store.active('wrapping');
  const key = SecretBuffer.random(32);
  await assert.rejects(store.sign(wrapping.id, Buffer.alloc(1)), { code: 'crypto.key-refused' });
  await assert.rejects(store.wrap(signing.id, key), { code: 'crypto.key-refused' });
  await assert.rejects(store.unwrap(signing.id, Buffer.alloc(40)), { code: 'crypto.key-refused' });
  await assert.rejects(store.sign('nobody', Buffer.alloc(1)), { code: 'crypto.key-missing' });
  await store.retire(signing.id);
  await assert.rejects(store.active('model-signing'), { code: 'crypto.key-missing' });
  await store.close();
  await assert.rejects(store.list(), { code: 'crypto.store-closed' });
  await assert.rejects(store.generate('wrapping'), { code: 'crypto.store-closed' });
});

test('a write that fails leaves file and memory as they were', async (t) => {
  const at = await place(t);
  const store = await createFileKeyStore({ ...at, clock });
  const before = await store.list();
  const bytes = await readFile(at.path);
  armFaultPoints((name) => {
    if (name === 'base.files.before-rename') throw new RangeError('no space');
  });
  await assert.rejects(store.generate('wrapping'), RangeError);
  armFaultPoints(undefined);
  assert.deepEqual(await store.list(), before);
  assert.deepEqual(await readFile(at.path), bytes);
  await store.generate('wrapping');
  assert.equal((await store.list()).length, 5);
});

test('leaves no unlock file that opens nothing, when it stops while making one', async (t) => {
  const at = await place(t);
  armFaultPoints((name) => {
    if (name === 'crypto.unlock.before-link') throw new RangeError('stopped');
  });
  t.after(() => armFaultPoints(undefined));
  await assert.rejects(createFileKeyStore({ ...at, clock }), RangeError);
  await assert.rejects(readFile(at.secret.path), { code: 'ENOENT' });
  armFaultPoints(undefined);
  await (await createFileKeyStore({ ...at, clock })).close();
  assert.equal((await readFile(at.secret.path)).length, 32);
});
