import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { busContract } from '../../test/support/bus-contract.ts';
import { SecretBuffer } from '../crypto/index.ts';
import { BusError } from './errors.ts';
import { MemoryBus } from './memory-bus.ts';
import { ReplayGuard } from './replay-guard.ts';
import { frameIdOf, SEAL_OVERHEAD, Seal } from './seal.ts';
import { SealedBus, sealBus } from './sealed-bus.ts';

const folder = mkdtempSync(join(tmpdir(), 'guardian-seal-'));
after(() => rmSync(folder, { recursive: true }));
const keyFile = fileOf('bus.key', 7);
const text = (s: string) => new TextEncoder().encode(s);
const code = (wanted: string) => (error: unknown) => error instanceof BusError && error.code === wanted;

function fileOf(name: string, byte: number, length = 32): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(length).fill(byte), { mode: 0o600 });
  return path;
}

const newSeal = (maxFrames?: number) => new Seal(SecretBuffer.from(new Uint8Array(32).fill(7)), maxFrames);

const shared = new MemoryBus({ maxTopicBytes: 1_500_000 });
busContract('sealed', async () => await sealBus(shared.connect(), keyFile));

/** A bus and what somebody sees who has the bus and not the key. */
async function newHouse() {
  const raw = new MemoryBus();
  return { raw, bus: await sealBus(raw.connect(), keyFile), other: await sealBus(raw.connect(), keyFile) };
}

test('what was sealed opens, whatever it is, in every process that has the key', () => {
  const [a, b] = [newSeal(), newSeal()];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.stringMatching(/^[a-z.]{1,20}$/), (data, name) => {
      const frame = a.seal('value', name, data);
      assert.equal(frame.length, data.length + SEAL_OVERHEAD);
      assert.deepEqual(Uint8Array.from(b.open('value', name, frame)), data);
    }),
    { seed: 61, numRuns: 60 },
  );
});

test('a frame with any one byte changed, or cut at any length, does not open', () => {
  const seal = newSeal();
  const frame = seal.seal('message', 'events', text('ten bytes.'));
  for (let at = 0; at < frame.length; at++) {
    const changed = Uint8Array.from(frame);
    changed[at] = (changed[at] as number) ^ 1;
    assert.throws(() => seal.open('message', 'events', changed), code('bus.seal-broken'), `byte ${at}`);
    assert.throws(() => seal.open('message', 'events', frame.subarray(0, at)), code('bus.seal-broken'));
  }
  seal.open('message', 'events', frame);
});

test('a frame opens for its own name and purpose alone', () => {
  const seal = newSeal();
  const frame = seal.seal('value', 'a.b', text('x'));
  assert.throws(() => seal.open('value', 'a.c', frame), code('bus.seal-broken'));
  const asObject = Uint8Array.from(frame);
  asObject[1] = 5;
  assert.throws(() => seal.open('object', 'a.b', asObject), code('bus.seal-broken'));
  assert.throws(() => seal.open('object', 'a.b', frame), code('bus.seal-broken'));
});

test('no pair of salt and counter comes twice, and another salt is drawn in time', () => {
  const ids = new Set<string>();
  const salts = new Set<string>();
  for (const seal of [newSeal(10), newSeal(10)]) {
    for (let i = 0; i < 25; i++) {
      const id = Buffer.from(frameIdOf(seal.seal('request', 'a', text('x')))).toString('hex');
      ids.add(id);
      salts.add(id.slice(0, 32));
    }
  }
  assert.equal(ids.size, 50);
  assert.equal(salts.size, 6);
});

test('whoever has the bus and not the key reads nothing', async () => {
  const { raw, bus } = await newHouse();
  const secret = text('the plaintext of a model');
  await bus.put('a.value', secret);
  await bus.putObject('an-object', secret);
  await bus.publish('a-topic', secret, { id: 'the id of an event' });
  const seen = [(await raw.get('a.value'))?.data, await raw.getObject('an-object')];
  for await (const delivery of raw.consume('a-topic')) {
    seen.push(delivery.data);
    await delivery.ack();
    break;
  }
  for (const bytes of seen) assert.ok(bytes && !Buffer.from(bytes).includes('plaintext'));
});

test('messages that do not open are taken off the topic and counted', async () => {
  const { raw, bus, other } = await newHouse();
  await raw.publish('events', text('forged'));
  await bus.publish('orders', text('for another topic'));
  for await (const delivery of raw.consume('orders')) {
    await raw.publish('events', delivery.data);
    await delivery.ack();
    break;
  }
  await bus.publish('events', text('real'));
  for await (const delivery of other.consume('events')) {
    assert.equal(Buffer.from(delivery.data).toString(), 'real');
    await delivery.ack();
    break;
  }
  assert.equal(other.refusals.message, 2);
});

test('a forged request reaches no responder, and one that was recorded only once', async () => {
  const { raw, bus, other } = await newHouse();
  const seen: string[] = [];
  await other.respond('work', async (request) => {
    seen.push(Buffer.from(request).toString());
    return text('done');
  });
  let recorded: Uint8Array = new Uint8Array(0);
  const tap = await raw.respond('work', async (frame) => {
    recorded = frame;
    throw new Error('not mine');
  });
  // Responders share requests in turn: one of two comes to each.
  for (let i = 0; i < 2; i++) await bus.request('work', text('go'), { timeoutMs: 1000 }).catch(() => {});
  await tap();
  assert.deepEqual(seen, ['go']);
  await assert.rejects(raw.request('work', text('forged'), { timeoutMs: 1000 }));
  await raw.request('work', recorded, { timeoutMs: 1000 });
  await assert.rejects(raw.request('work', recorded, { timeoutMs: 1000 }));
  assert.deepEqual(seen, ['go', 'go']);
  assert.deepEqual([other.refusals.request, other.refusals.replayed], [1, 1]);
});

test('an answer that was made for another request, or by nobody with the key, is refused', async () => {
  const { raw, bus, other } = await newHouse();
  const stop = await other.respond('work', async () => text('yes'));
  const earlier: Uint8Array[] = [];
  const between = await raw.respond('front', async (frame) => {
    const answer = await raw.request('work', frame, { timeoutMs: 1000 });
    earlier.push(answer);
    return answer;
  });
  // Requests name their subject, so one for `front` is refused at `work`: the relay is refused as a whole.
  await assert.rejects(bus.request('front', text('x'), { timeoutMs: 1000 }), code('bus.seal-broken'));
  await between();
  const answer = await bus.request('work', text('x'), { timeoutMs: 1000 });
  assert.equal(Buffer.from(answer).toString(), 'yes');
  await stop();
  const recorded: Uint8Array[] = [];
  const inner: MemoryBus = new MemoryBus();
  const seal = newSeal();
  const asker = new SealedBus(inner.connect(), newSeal());
  const replaying = await inner.respond('work', async (frame) => {
    recorded[0] ??= seal.seal('answer', 'work', text('old'), frameIdOf(frame));
    return recorded[0];
  });
  assert.equal(Buffer.from(await asker.request('work', text('1'), { timeoutMs: 1000 })).toString(), 'old');
  await assert.rejects(asker.request('work', text('2'), { timeoutMs: 1000 }), code('bus.seal-broken'));
  await replaying();
  for (const answerOf of [async () => text('forged'), () => Promise.reject(new Error('forged failure'))]) {
    const forging = await inner.respond('work', answerOf);
    await assert.rejects(asker.request('work', text('3'), { timeoutMs: 1000 }), (error) => {
      return code('bus.seal-broken')(error) && !String(error).includes('forged');
    });
    await forging();
  }
  assert.equal(asker.refusals.answer, 3);
});

test('values and objects that somebody put there are refused, and watchers pass them by', async () => {
  const { raw, bus } = await newHouse();
  await raw.put('list.a', text('forged'));
  await raw.putObject('model', text('forged'));
  await assert.rejects(bus.get('list.a'), code('bus.seal-broken'));
  await assert.rejects(bus.getObject('model'), code('bus.seal-broken'));
  await bus.put('list.b', text('real'));
  // The value of one key under another.
  await raw.put('list.c', (await raw.get('list.b'))?.data ?? text(''));
  await bus.put('list.d', text('last'));
  const seen: string[] = [];
  for await (const { key } of bus.watch('list')) {
    seen.push(key);
    if (key === 'list.d') break;
  }
  assert.deepEqual(seen, ['list.b', 'list.d']);
});

test('a key that others may read, is short, or is missing is refused, and its bytes are not told', async () => {
  const open = fileOf('open.key', 65);
  chmodSync(open, 0o640);
  for (const path of [open, fileOf('short.key', 65, 31), join(folder, 'none.key'), folder]) {
    await assert.rejects(
      sealBus(new MemoryBus(), path),
      (error) => code('bus.key-refused')(error) && !String(error).includes('AAAA'),
      path,
    );
  }
  const link = join(folder, 'link.key');
  symlinkSync(keyFile, link);
  await (await sealBus(new MemoryBus(), link)).close();
});

test('a process with another key is refused before it takes a message', async () => {
  const raw = new MemoryBus();
  const bus = await sealBus(raw.connect(), keyFile);
  await bus.publish('events', text('kept'));
  await assert.rejects(sealBus(raw.connect(), fileOf('other.key', 8)), code('bus.key-wrong'));
  for await (const delivery of bus.consume('events')) {
    assert.equal(Buffer.from(delivery.data).toString(), 'kept');
    await delivery.ack();
    break;
  }
});

test('requests of a sender are told apart as by a set, in any order within the window', () => {
  const id = (counter: number) => {
    const bytes = Buffer.alloc(22, 3);
    bytes.writeUIntBE(counter, 16, 6);
    return bytes;
  };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 200 }), (counters) => {
      const guard = new ReplayGuard();
      const seen = new Set<number>();
      let highest = -1;
      for (const counter of counters) {
        const isNew = !seen.has(counter) && counter > highest - 1_024;
        assert.equal(guard.isNew(id(counter)), isNew, `${counter}`);
        seen.add(counter);
        highest = Math.max(highest, counter);
      }
    }),
    { seed: 62, numRuns: 100 },
  );
});
