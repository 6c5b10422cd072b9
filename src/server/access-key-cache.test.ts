import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ManualClock } from '../base/index.ts';
import { type AccessKeyRow, StorageError } from '../storage/index.ts';
import { KnownKeys } from './access-key-cache.ts';
import { SERVER_LIMITS } from './limits.ts';

function someKeys() {
  const clock = new ManualClock();
  const rows = new Map<string, AccessKeyRow>();
  const add = (id: string, revokedAt?: number) =>
    rows.set(id, {
      ...{ id, sha256: 'aa', principal: id, roles: ['viewer'], createdAt: 0 },
      ...(revokedAt !== undefined && { revokedAt }),
    });
  let asked = 0;
  let release: (() => void) | undefined;
  let failure: Error | undefined;
  const table = {
    findAccessKey: async (id: string) => {
      asked++;
      if (failure !== undefined) throw failure;
      const row = rows.get(id);
      if (release === undefined) return row;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return row;
    },
  };
  const known = new KnownKeys(table as unknown as ConstructorParameters<typeof KnownKeys>[0], clock);
  return {
    ...{ clock, known, add },
    asked: () => asked,
    hold: () => {
      release = () => undefined;
    },
    release: () => release?.(),
    fail: (error: Error | undefined) => {
      failure = error;
    },
  };
}

suite('rows of known keys', () => {
  test('are read once within their time, and anew after it', async () => {
    const { clock, known, add, asked } = someKeys();
    add('a');
    await known.findAccessKey('a');
    clock.advance(SERVER_LIMITS.knownKeyMs - 1);
    await known.findAccessKey('a');
    assert.equal(asked(), 1);
    clock.advance(1);
    add('a', 5);
    assert.equal((await known.findAccessKey('a'))?.revokedAt, 5, 'what another process revoked');
    assert.equal(asked(), 2);
  });

  test('are forgotten at once where this process revokes', async () => {
    const { known, add } = someKeys();
    add('a');
    await known.findAccessKey('a');
    add('a', 5);
    known.forget('a');
    assert.equal((await known.findAccessKey('a'))?.revokedAt, 5);
  });

  test('are not kept where a change overtook their reading', async () => {
    const { known, add, hold, release, asked } = someKeys();
    add('a');
    hold();
    const reading = known.findAccessKey('a');
    add('a', 5);
    known.forget('a');
    release();
    assert.equal((await reading)?.revokedAt, undefined);
    const again = known.findAccessKey('a');
    release();
    assert.equal((await again)?.revokedAt, 5);
    assert.equal(asked(), 2);
  });

  test('go on to count while the database is away, for a quarter of an hour, and never after they were revoked here', async () => {
    const { clock, known, add, fail } = someKeys();
    add('a');
    add('b');
    await known.findAccessKey('a');
    await known.findAccessKey('b');
    fail(new StorageError('storage.database-unreachable', 'away'));
    known.forget('b');
    const away = { code: 'storage.database-unreachable' };
    clock.advance(SERVER_LIMITS.knownKeyAwayMs - 1);
    assert.equal((await known.findAccessKey('a'))?.id, 'a');
    await assert.rejects(known.findAccessKey('b'), away);
    await assert.rejects(known.findAccessKey('c'), away);
    clock.advance(1);
    await assert.rejects(known.findAccessKey('a'), away);
    fail(new StorageError('storage.row-malformed', 'no outage'));
    clock.jump(-SERVER_LIMITS.knownKeyAwayMs);
    await assert.rejects(known.findAccessKey('a'), { code: 'storage.row-malformed' });
  });

  test('are asked for each time while nobody knows them', async () => {
    const { known, asked } = someKeys();
    assert.equal(await known.findAccessKey('b'), undefined);
    assert.equal(await known.findAccessKey('b'), undefined);
    assert.equal(asked(), 2);
  });
});
