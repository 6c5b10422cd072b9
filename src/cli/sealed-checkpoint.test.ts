import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { armFaultPoints } from '../base/index.ts';
import { configurationSchema } from '../configuration.ts';
import { type Guardian, openGuardian } from '../guardian/index.ts';
import { buildServer } from '../server/index.ts';
import type { TrainingRun } from '../training/index.ts';
import { Api, injectTransport } from './api.ts';
import { SealedCheckpoint } from './sealed-checkpoint.ts';
import { TrainingKeysClient } from './training-keys.ts';

const RUN: TrainingRun = {
  data: `sha256:${'1'.repeat(64)}`,
  schema: `sha256:${'2'.repeat(64)}`,
  configuration: `sha256:${'3'.repeat(64)}`,
  seed: 1,
  trainer: 'test 1',
};
const STATE = Buffer.from('a state that nobody may read. '.repeat(9_000));

let folder: string;
let path: string;
let guardian: Guardian;
let keys: TrainingKeysClient;
let close: () => Promise<void>;

const options = (run = RUN, name = 'flow') => ({ path, name, run, keys });

/** What a resumed checkpoint holds; its key is wiped. */
async function resumed(run = RUN): Promise<string> {
  const checkpoint = await SealedCheckpoint.resume(options(run));
  const state = await checkpoint.load();
  checkpoint.close();
  return Buffer.from(state ?? []).toString();
}

suite('a sealed checkpoint', () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'checkpoint-'));
    path = join(folder, 'checkpoints', 'flow.sealed');
    guardian = await openGuardian({
      stateFolder: join(folder, 'state'),
      configFolder: join(folder, 'config'),
      config: configurationSchema.parse({}),
    });
    const application = await buildServer(guardian, { trust: 'local' });
    keys = new TrainingKeysClient(new Api(injectTransport(application)));
    close = () => application.close();
  });
  after(async () => {
    await close();
    await guardian.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('gives what was saved last, and its file shows nothing of it', async () => {
    const checkpoint = await SealedCheckpoint.begin(options());
    assert.equal(await checkpoint.load(), undefined);
    await checkpoint.save(Buffer.from('first'));
    await checkpoint.save(STATE);
    checkpoint.close();
    assert.equal(checkpoint.counter, 2);
    assert.equal(await resumed(), STATE.toString());
    assert.ok(!readFileSync(path).includes('nobody may read'));
    assert.deepEqual(readdirSync(join(folder, 'checkpoints')), ['flow.sealed']);
    // And goes on counting.
    const again = await SealedCheckpoint.resume(options());
    await again.save(STATE);
    assert.equal(again.counter, 3);
    again.close();
  });

  test('is refused where an older copy of it was put back', async () => {
    const older = `${path}.older`;
    const checkpoint = await SealedCheckpoint.begin(options());
    await checkpoint.save(Buffer.from('first'));
    copyFileSync(path, older);
    await checkpoint.save(Buffer.from('second'));
    checkpoint.close();
    copyFileSync(path, `${path}.newest`);
    copyFileSync(older, path);
    await assert.rejects(resumed(), { code: 'training.checkpoint-rolled-back' });
    const mark = (await keys.marks()).flow!;
    await assert.rejects(keys.mark('flow', { ...mark, counter: 0 }), {
      code: 'training.checkpoint-rolled-back',
    });
    await assert.rejects(resumed(), { code: 'training.checkpoint-rolled-back' });
    copyFileSync(`${path}.newest`, path);
    assert.equal(await resumed(), 'second');
    // Neither does it come back after the run was begun anew, or its checkpoint removed.
    (await SealedCheckpoint.begin(options())).close();
    copyFileSync(`${path}.newest`, path);
    await assert.rejects(resumed(), { code: 'training.checkpoint-rolled-back' });
    await keys.forget('flow');
    await assert.rejects(resumed(), { code: 'training.checkpoint-rolled-back' });
  });

  test('is taken where a crash came between the file and its mark', async () => {
    const checkpoint = await SealedCheckpoint.begin(options());
    await checkpoint.save(Buffer.from('first'));
    armFaultPoints((name) => {
      if (name === 'cli.checkpoint.before-mark') throw new Error('killed');
    });
    await assert
      .rejects(checkpoint.save(Buffer.from('second')), /killed/)
      .finally(() => armFaultPoints(undefined));
    checkpoint.close();
    assert.equal((await keys.marks()).flow?.counter, 1);
    assert.equal(await resumed(), 'second');
  });

  test('stays as it was where the disk is full, and the next one is saved', async () => {
    const checkpoint = await SealedCheckpoint.begin(options());
    await checkpoint.save(Buffer.from('first'));
    armFaultPoints((name) => {
      if (name === 'base.files.before-rename') throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    });
    await assert.rejects(checkpoint.save(STATE), { code: 'ENOSPC' }).finally(() => armFaultPoints(undefined));
    assert.equal(await resumed(), 'first');
    await checkpoint.save(Buffer.from('third'));
    checkpoint.close();
    assert.equal(await resumed(), 'third');
    assert.deepEqual(
      readdirSync(join(folder, 'checkpoints')).filter((name) => name.startsWith('.tmp')),
      [],
    );
  });

  test('is refused by name where it was torn or a byte of it was changed', async () => {
    const checkpoint = await SealedCheckpoint.begin(options());
    await checkpoint.save(Buffer.from('short'));
    checkpoint.close();
    const whole = readFileSync(path);
    for (let i = 0; i < whole.length; i += 7) {
      const flipped = Buffer.from(whole);
      flipped[i] = (flipped[i] as number) ^ 4;
      writeFileSync(path, flipped);
      await assert.rejects(resumed(), { code: 'training.checkpoint-tampered' }, `byte ${i}`);
      writeFileSync(path, whole.subarray(0, i));
      await assert.rejects(resumed(), { code: 'training.checkpoint-tampered' }, `${i} bytes`);
    }
    writeFileSync(path, whole);
    assert.equal(await resumed(), 'short');
  });

  test('is refused for another run, naming what differs, and for another model', async () => {
    await assert.rejects(resumed({ ...RUN, seed: 2, data: RUN.schema }), {
      code: 'training.checkpoint-mismatch',
      message: /differs in: data, seed/,
    });
    await assert.rejects(SealedCheckpoint.resume(options(RUN, 'other')), {
      code: 'training.checkpoint-tampered',
    });
    rmSync(path);
    await assert.rejects(resumed(), { code: 'training.checkpoint-missing' });
  });

  test('of a training that another one of its name has followed is not saved any more', async () => {
    const first = await SealedCheckpoint.begin(options());
    const second = await SealedCheckpoint.begin(options());
    await second.save(Buffer.from('second'));
    await assert.rejects(first.save(Buffer.from('first')), { code: 'training.checkpoint-superseded' });
    first.close();
    second.close();
  });

  test('leaves every use of its keys in the log, and none of its saves', async () => {
    const before = guardian.log.size;
    const checkpoint = await SealedCheckpoint.begin(options());
    const made = guardian.log.size;
    for (let i = 0; i < 5; i++) await checkpoint.save(STATE);
    assert.equal(guardian.log.size, made);
    checkpoint.close();
    await resumed();
    const actions: string[] = [];
    for await (const { entry } of guardian.log.entries(before)) actions.push(`${entry.kind} ${entry.action}`);
    assert.deepEqual(actions, [
      'event data.seal',
      'intent key.wrap',
      'outcome key.wrap',
      'event data.open',
      'intent key.unwrap',
      'outcome key.unwrap',
    ]);
  });

  test('does not open a key of a model', async () => {
    const { wraps, key } = await keys.make('data', 'a file');
    // The same wraps opened for another purpose give another key.
    const other = await keys.open('checkpoint', 'a file', wraps);
    assert.notDeepEqual(
      key.use((bytes) => Buffer.from(bytes)),
      other.use((bytes) => Buffer.from(bytes)),
    );
  });
});
