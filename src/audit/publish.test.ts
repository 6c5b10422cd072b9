import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { clock, emptyPlace, memoryKeys, note, onDemand } from '../../test/support/audit-log.ts';
import { TestWitness } from '../../test/support/witness.ts';
import type { FileKeyStore } from '../crypto/index.ts';
import { copyPath } from './checkpoint-copies.ts';
import {
  CheckpointPublisher,
  type CheckpointPublisherOptions,
  WITNESSED_FILE,
} from './checkpoint-publisher.ts';
import { auditConfigSchema } from './config.ts';
import { readCosignatures } from './cosignature.ts';
import { AuditError } from './errors.ts';
import { parseVerifierKey } from './note.ts';
import { openAuditLog } from './open-audit-log.ts';
import { verifyAuditLog } from './verify-audit-log.ts';

const ORIGIN = 'example.com/log';
let keys: FileKeyStore;
let logPublicKeyPem: string;

before(async () => {
  ({ keys, logPublicKeyPem } = await memoryKeys());
});

/** A log whose checkpoints are published, and what went wrong on the way. */
async function published(
  t: TestContext,
  config: Partial<CheckpointPublisherOptions['config']>,
  folder?: string,
) {
  const place = folder ?? (await emptyPlace(t));
  let publisher: CheckpointPublisher | undefined;
  const log = await openAuditLog({
    ...{ folder: place, keys, clock, policy: onDemand, origin: ORIGIN },
    onCheckpoint: (checkpoint) => publisher?.publish(checkpoint),
  });
  t.after(() => log.close());
  const errors: unknown[] = [];
  publisher = new CheckpointPublisher({
    log,
    folder: place,
    config: { copies: [], witnesses: [], cosignaturesWanted: 0, ...config },
    publicKeysPem: async () => [logPublicKeyPem],
    onError: (error) => errors.push(error),
  });
  return { log, folder: place, publisher, errors };
}

function codes(errors: readonly unknown[]): string[] {
  return errors.map((error) => (error instanceof AuditError ? error.code : String(error)));
}

async function witness(t: TestContext, name: string) {
  const made = new TestWitness(name, new Map([[ORIGIN, [logPublicKeyPem]]]));
  const url = await made.listen();
  t.after(() => made.close());
  return { witness: made, config: { url, key: made.vkey } };
}

test('has each checkpoint cosigned by its witnesses, and verifies with their keys alone', async (t) => {
  const [one, two] = [await witness(t, 'witness.example/one'), await witness(t, 'witness.example/two')];
  const { log, folder, publisher, errors } = await published(t, {
    witnesses: [one.config, two.config],
    cosignaturesWanted: 2,
  });
  for (let n = 0; n < 5; n++) {
    await log.append(note(n));
    await log.checkpoint();
    await publisher.settled();
  }
  assert.deepEqual(errors, []);
  assert.deepEqual(publisher.stats, { published: 5, failures: 0, witnessedSize: 5 });
  assert.deepEqual(one.witness.answered, [200, 200, 200, 200, 200]);
  const witnessKeys = [one.witness.vkey, two.witness.vkey];
  const { witnessed } = await verifyAuditLog({ folder, logPublicKeyPem, witnessKeys });
  assert.deepEqual(witnessed, { size: 5, names: ['witness.example/one', 'witness.example/two'] });
  const stranger = (await witness(t, 'witness.example/three')).witness;
  for (const wrong of [[stranger.vkey], [...witnessKeys, stranger.vkey]]) {
    await assert.rejects(verifyAuditLog({ folder, logPublicKeyPem, witnessKeys: wrong }), {
      code: 'audit.not-witnessed',
    });
  }
  const enough = { witnessKeys: [...witnessKeys, stranger.vkey], cosignaturesWanted: 2 };
  await verifyAuditLog({ folder, logPublicKeyPem, ...enough });
  const text = await readFile(join(folder, WITNESSED_FILE), 'utf8');
  for (let i = 0; i < text.length; i++) {
    const changed = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
    await writeFile(join(folder, WITNESSED_FILE), changed);
    const options = { folder, logPublicKeyPem, witnessKeys };
    await assert.rejects(verifyAuditLog(options), { category: 'security' }, `byte ${i}`);
  }
});

test('learns from the witness what it saw, after a restart and when another checkpoint came first', async (t) => {
  const { witness: made, config } = await witness(t, 'witness.example/w');
  const first = await published(t, { witnesses: [config] });
  for (let n = 0; n < 3; n++) await first.log.append(note(n));
  await first.log.checkpoint();
  await first.publisher.settled();
  await first.log.close();
  await first.publisher.settled();
  const again = await published(t, { witnesses: [config] }, first.folder);
  await again.log.append(note(3));
  await again.log.checkpoint();
  await again.publisher.settled();
  assert.deepEqual(made.answered, [200, 409, 200]);
  assert.equal(again.publisher.stats.witnessedSize, 4);
});

test('says that the log was rolled back when a witness saw a longer one, or another of this size', async (t) => {
  const { config } = await witness(t, 'witness.example/w');
  const { log, folder, publisher } = await published(t, { witnesses: [config] });
  await log.append(note(0));
  await log.checkpoint();
  await publisher.settled();
  const older = `${folder}-older`;
  await cp(folder, older, { recursive: true });
  await log.append(note(1));
  await log.append(note(2));
  await log.checkpoint();
  await publisher.settled();
  const rolled = await published(t, { witnesses: [config] }, older);
  await rolled.log.append(note(7));
  await rolled.log.checkpoint();
  await rolled.publisher.settled();
  await rolled.log.append(note(8));
  await rolled.log.checkpoint();
  await rolled.publisher.settled();
  assert.deepEqual(codes(rolled.errors), ['audit.rolled-back', 'audit.rolled-back']);
});

test('refuses what is no cosignature of the witness, and goes on appending meanwhile', async (t) => {
  const { witness: made, config } = await witness(t, 'witness.example/w');
  const answers: readonly (readonly [number, string, string?])[] = [
    [200, ''],
    [200, 'thanks'],
    [200, '— witness.example/w AAAA\n'],
    [403, ''],
    [404, ''],
    [422, ''],
    [409, 'many\n', 'text/x.tlog.size'],
    [500, ''],
  ];
  const { log, publisher, errors, folder } = await published(t, {
    witnesses: [config],
    cosignaturesWanted: 1,
  });
  const good = made.addCheckpoint.bind(made);
  for (const [n, answer] of answers.entries()) {
    made.addCheckpoint = () => answer;
    await log.append(note(n));
    await log.checkpoint();
    await publisher.settled();
  }
  assert.equal(errors.length, answers.length);
  assert.deepEqual(new Set(codes(errors)), new Set(['audit.witness-refused']));
  assert.equal(publisher.stats.witnessedSize, 0);
  await assert.rejects(readFile(join(folder, WITNESSED_FILE)), { code: 'ENOENT' });
  made.addCheckpoint = good;
  await log.append(note(99));
  const { text } = await log.checkpoint();
  await publisher.settled();
  assert.equal(publisher.stats.witnessedSize, answers.length + 1);
  const [key] = [parseVerifierKey(made.vkey)];
  const other = text.replace('\n9\n', '\n8\n');
  assert.equal(readCosignatures(text + made.cosign(text), key ? [key] : []).length, 1);
  assert.equal(readCosignatures(other + made.cosign(text), key ? [key] : []).length, 0, 'of another body');
  await made.close();
  await log.append(note(100));
  await log.checkpoint();
  await publisher.settled();
  assert.equal(errors.length, answers.length + 1, 'a witness that is away is told, and nothing waits');
});

test('copies each checkpoint to a folder and refuses to go on where the log no longer continues it', async (t) => {
  const copies = `${await emptyPlace(t)}-outside`;
  await mkdir(copies);
  t.after(() => rm(copies, { recursive: true, force: true }));
  const { log, folder, publisher, errors } = await published(t, { copies: [copies] });
  await log.append(note(0));
  await log.checkpoint();
  await publisher.settled();
  const older = `${folder}-older`;
  await cp(folder, older, { recursive: true });
  await log.append(note(1));
  const { text } = await log.checkpoint();
  await publisher.settled();
  assert.equal(await readFile(copyPath(copies, ORIGIN), 'utf8'), text);
  await publisher.start();
  assert.deepEqual(errors, []);

  const rolled = await published(t, { copies: [copies] }, older);
  await assert.rejects(rolled.publisher.start(), { code: 'audit.rolled-back' });
  await rolled.log.append(note(8));
  await assert.rejects(rolled.publisher.start(), { code: 'audit.rolled-back' }, 'as long, and another');
  await rolled.publisher.settled();
  assert.equal(await readFile(copyPath(copies, ORIGIN), 'utf8'), text, 'the good copy stands');
  await writeFile(copyPath(copies, ORIGIN), 'scribbled over');
  await assert.rejects(publisher.start(), { code: 'audit.checkpoint-forged' });
  await rm(copies, { recursive: true });
  await publisher.start();
  assert.deepEqual(codes(errors), ['audit.copy-failed']);
});

test('posts each checkpoint to an address, and takes only https or loopback ones', async (t) => {
  const posted: string[] = [];
  const statuses = [200, 503];
  const { log, folder } = await published(t, {});
  const errors: unknown[] = [];
  const publisher = new CheckpointPublisher({
    log,
    folder,
    config: { copies: ['https://copies.example/log'], witnesses: [], cosignaturesWanted: 0 },
    publicKeysPem: async () => [logPublicKeyPem],
    post: async (_, body) => {
      posted.push(body);
      return { status: statuses.shift() ?? 200, contentType: '', text: '' };
    },
    onError: (error) => errors.push(error),
  });
  for (let n = 0; n < 2; n++) {
    await log.append(note(n));
    publisher.publish(await log.checkpoint());
    await publisher.settled();
  }
  assert.equal(posted[1], (await log.checkpoint()).text);
  assert.deepEqual(codes(errors), ['audit.copy-failed']);
  const isTaken = (place: string) => auditConfigSchema.safeParse({ copies: [place] }).success;
  for (const good of ['/mnt/copies', 'https://a.example/x', 'http://127.0.0.1:9/', 'http://localhost/x'])
    assert.ok(isTaken(good), good);
  for (const bad of [
    'relative',
    'http://a.example/',
    'ftp://a/',
    'https://u:p@a.example/',
    'http://127.0.0.1.evil/',
  ])
    assert.ok(!isTaken(bad), bad);
});
