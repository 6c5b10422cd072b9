import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Logger } from '../base/index.ts';
import { type Bus, BusError, MemoryBus } from '../bus/index.ts';
import type { AliasChange } from '../registry/index.ts';
import { AliasWatch } from './alias-watch.ts';

async function setUp(bus?: Bus, followed: readonly string[] = ['flow', 'nsl']) {
  const asked: string[] = [];
  const told: string[] = [];
  let failure: Error | undefined;
  let wake = () => {};
  const logger = { error: (_: object, message: string) => told.push(message) } as unknown as Logger;
  const watch = new AliasWatch({
    followed: () => followed,
    follow: async (name) => {
      asked.push(name);
      wake();
      if (failure !== undefined) throw failure;
    },
    logger,
    everyMs: null,
  });
  if (bus !== undefined) await watch.join(async () => bus);
  return {
    watch,
    asked,
    told,
    fail: (error: Error | undefined) => {
      failure = error;
    },
    /** Resolves at the next name that is looked at. */
    next: () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      }),
  };
}

const move = (name: string): AliasChange =>
  ({ name, alias: 'champion', version: '1.1.0', intent: 7 }) as AliasChange;

suite('the watch of aliases', () => {
  test('looks at each name that is followed', async () => {
    const { watch, asked } = await setUp();
    await watch.look();
    assert.deepEqual(asked, ['flow', 'nsl']);
    await watch.close();
  });

  test('looks at a name that another engine spoke of, and at no other', async () => {
    const bus = new MemoryBus();
    const one = await setUp(bus.connect());
    const other = await setUp(bus.connect());
    const heard = other.next();
    await one.watch.announce(move('nsl'));
    await heard;
    assert.deepEqual(other.asked, ['nsl']);
    await one.watch.announce(move('elsewhere'));
    await other.watch.look();
    assert.deepEqual(other.asked, ['nsl', 'flow', 'nsl']);
    await one.watch.close();
    await other.watch.close();
  });

  test('goes on when a move cannot be followed, and tells of it once', async () => {
    const { watch, asked, told, fail } = await setUp(undefined, ['flow']);
    fail(new BusError('bus.unreachable', 'gone'));
    await watch.look();
    await watch.look();
    assert.equal(told.length, 1);
    fail(undefined);
    await watch.look();
    fail(new BusError('bus.unreachable', 'gone'));
    await watch.look();
    assert.equal(told.length, 2);
    assert.equal(asked.length, 4);
    await watch.close();
  });

  test('joins a bus that was away when it answers, and refuses one that never will', async () => {
    const { watch, told, next } = await setUp();
    const bus = new MemoryBus();
    let attempts = 0;
    const heard = next();
    const joined = new Promise<void>((resolve) => {
      void watch.join(async () => {
        if (++attempts === 1) throw new BusError('bus.unreachable', 'away', { retryAfterMs: 1 });
        resolve();
        return bus.connect();
      });
    });
    await joined;
    await bus.put('aliases.flow.champion', Buffer.from('{}'));
    await heard;
    assert.deepEqual([attempts, told.length], [2, 1]);
    await watch.close();
    const refused = watch.join(async () => {
      throw new BusError('bus.address-refused', 'no TLS');
    });
    await assert.rejects(refused, { code: 'bus.address-refused' });
  });

  test('makes no failure of a move that nobody could be told of', async () => {
    const bus = new MemoryBus();
    const { watch, told } = await setUp(bus);
    await bus.close();
    bus.put = async () => {
      throw new BusError('bus.closed', 'closed');
    };
    await watch.announce(move('flow'));
    assert.equal(told.length, 1);
    await watch.close();
  });
});
