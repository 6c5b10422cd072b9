import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bus, BusError, claimLease, type Delivery } from '../../src/bus/index.ts';

const text = (s: string) => new TextEncoder().encode(s);
const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const code = (wanted: string) => (error: unknown) => error instanceof BusError && error.code === wanted;

/** What every bus must do. `connect` gives another connection to one and the same bus. */
export function busContract(kind: string, connect: () => Promise<Bus>): void {
  const run = (name: string, work: (bus: Bus, topic: string, other: () => Promise<Bus>) => Promise<void>) =>
    test(`${kind}: ${name}`, async () => {
      const open: Bus[] = [];
      const another = async () => {
        const bus = await connect();
        open.push(bus);
        return bus;
      };
      try {
        await work(await another(), `t-${Math.abs(hash(name))}`, another);
      } finally {
        for (const bus of open) await bus.close();
      }
    });

  run('delivers what was published before anyone listened, in order', async (bus, topic) => {
    for (const word of ['one', 'two', 'three']) await bus.publish(topic, text(word));
    assert.deepEqual((await take(bus, topic, 3)).map(read), ['one', 'two', 'three']);
  });

  run('gives each message to one of the consumers', async (bus, topic, another) => {
    const other = await another();
    for (let i = 0; i < 40; i++) await bus.publish(topic, text(String(i)));
    const seen: string[] = [];
    const stop = new AbortController();
    const consumer = async (from: Bus) => {
      for await (const delivery of from.consume(topic, { signal: stop.signal, maxPending: 8 })) {
        seen.push(read(delivery.data));
        await delivery.ack();
        if (seen.length === 40) stop.abort();
      }
    };
    await Promise.all([consumer(bus), consumer(other)]);
    assert.equal(new Set(seen).size, 40);
    assert.equal(seen.length, 40);
  });

  run('gives back soon what a consumer held that was called off', async (bus, topic, another) => {
    for (let i = 0; i < 6; i++) await bus.publish(topic, text(String(i)));
    const stop = new AbortController();
    for await (const delivery of bus.consume(topic, { ackWaitMs: 60_000, signal: stop.signal })) {
      await delivery.ack();
      stop.abort();
    }
    const rest = (await take(await another(), topic, 5)).map(read);
    assert.deepEqual(rest.sort(), ['1', '2', '3', '4', '5']);
  });

  run('delivers again what was not acknowledged in time, and what was given back', async (bus, topic) => {
    await bus.publish(topic, text('again'));
    const attempts: number[] = [];
    for await (const delivery of bus.consume(topic, { ackWaitMs: 200 })) {
      attempts.push(delivery.attempt);
      if (attempts.length === 1) continue; // left to time out
      if (attempts.length === 2) await delivery.retry();
      else {
        await delivery.ack();
        break;
      }
    }
    assert.deepEqual(attempts, [1, 2, 3]);
  });

  run('keeps a delivery that is being worked on', async (bus, topic) => {
    await bus.publish(topic, text('slow'));
    const deliveries: Delivery[] = [];
    for await (const delivery of bus.consume(topic, { ackWaitMs: 300 })) {
      deliveries.push(delivery);
      for (let i = 0; i < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 150));
        await delivery.working();
      }
      await delivery.ack();
      break;
    }
    await bus.publish(topic, text('next'));
    assert.deepEqual((await take(bus, topic, 1)).map(read), ['next']);
    assert.equal(deliveries.length, 1);
  });

  run('drops a second message with the id of the first', async (bus, topic) => {
    for (const word of ['first', 'second']) await bus.publish(topic, text(word), { id: 'same' });
    await bus.publish(topic, text('third'), { id: 'other' });
    assert.deepEqual((await take(bus, topic, 2)).map(read), ['first', 'third']);
  });

  run('refuses a message for a full topic and keeps the older ones', async (bus, topic) => {
    const half = new Uint8Array(700_000);
    await bus.publish(topic, half);
    await assert.rejects(async () => {
      for (let i = 0; i < 4; i++) await bus.publish(topic, half);
    }, code('bus.full'));
    assert.equal((await take(bus, topic, 1))[0]?.length, 700_000);
  });

  run('answers requests, also large ones, and says why it cannot', async (bus, topic, another) => {
    const other = await another();
    await assert.rejects(bus.request(topic, text('x'), { timeoutMs: 1000 }), code('bus.no-responder'));
    const stop = await other.respond(topic, async (request) => {
      if (request.length === 0) throw new BusError('bus.full', 'nothing\nto do');
      return request.map((byte) => byte ^ 255);
    });
    assert.deepEqual(
      await bus.request(topic, Uint8Array.of(1, 2), { timeoutMs: 5000 }),
      Uint8Array.of(254, 253),
    );
    const large = new Uint8Array(3_000_000).map((_, i) => i);
    const answer = await bus.request(topic, large, { timeoutMs: 20_000 });
    assert.ok(Buffer.from(answer).equals(Buffer.from(large.map((byte) => byte ^ 255))));
    await assert.rejects(bus.request(topic, new Uint8Array(0), { timeoutMs: 5000 }), (error) => {
      return code('bus.responder-failed')(error) && /nothing\sto do/.test((error as Error).message);
    });
    await stop();
    await assert.rejects(bus.request(topic, text('x'), { timeoutMs: 1000 }), code('bus.no-responder'));
  });

  run('gives up on an answer that does not come', async (bus, topic, another) => {
    await (await another()).respond(topic, () => new Promise(() => {}));
    await assert.rejects(bus.request(topic, text('x'), { timeoutMs: 150 }), code('bus.timeout'));
  });

  run('lets one of two writers of a value win', async (bus, topic) => {
    const key = `${topic}.key`;
    assert.equal(await bus.get(key), undefined);
    const first = (await bus.put(key, text('a'), 0)) as number;
    assert.equal(await bus.put(key, text('b'), 0), undefined);
    const second = (await bus.put(key, text('c'), first)) as number;
    assert.equal(await bus.put(key, text('d'), first), undefined);
    assert.ok(second > first);
    const value = await bus.get(key);
    assert.equal(value?.revision, second);
    assert.equal(read(value?.data as Uint8Array), 'c');
  });

  run('tells watchers what is there and what changes', async (bus, topic, another) => {
    const other = await another();
    await bus.put(`${topic}.a`, text('1'));
    const seen: string[] = [];
    for await (const { key, data } of other.watch(topic)) {
      seen.push(`${key.split('.').at(-1)}=${read(data)}`);
      if (seen.length === 1) await bus.put(`${topic}.b`, text('2'));
      if (seen.length === 2) await bus.put(`${topic}.a`, text('3'));
      if (seen.length === 3) break;
    }
    assert.deepEqual(seen, ['a=1', 'b=2', 'a=3']);
  });

  run('keeps objects by name', async (bus, topic, another) => {
    const other = await another();
    const bytes = new Uint8Array(2_500_000).map((_, i) => i * 7);
    await bus.putObject(topic, bytes);
    assert.ok(Buffer.from(await other.getObject(topic)).equals(Buffer.from(bytes)));
    await other.deleteObject(topic);
    await assert.rejects(bus.getObject(topic), code('bus.object-missing'));
  });

  run('has one holder of a lease, and a next one when it dies', async (bus, topic, another) => {
    const options = { holder: 'a', ttlMs: 400 };
    const first = await claimLease(bus, `${topic}.lease`, options);
    assert.ok(first);
    const other = await another();
    assert.equal(await claimLease(other, `${topic}.lease`, { ...options, holder: 'b' }), undefined);
    await first.release();
    const second = await claimLease(other, `${topic}.lease`, { ...options, holder: 'b' });
    assert.ok(second && second.token > first.token);
    // The holder is cut off from the bus: it counts itself out, and the next one may have it.
    await other.close();
    if (!second.lost.aborted)
      await new Promise((r) => second.lost.addEventListener('abort', r, { once: true }));
    const third = await claimLease(bus, `${topic}.lease`, options);
    assert.ok(third && third.token > second.token);
    await third.release();
  });

  run('refuses names that mean more than a name', async (bus) => {
    for (const name of ['', '*', 'a.>', 'A', 'a..b', '.a', 'a b', `a${'x'.repeat(200)}`]) {
      await assert.rejects(bus.publish(name, text('x')), code('bus.name-invalid'), name);
      await assert.rejects(bus.get(name), code('bus.name-invalid'), name);
    }
  });

  run('answers nothing once it is closed', async (bus, topic) => {
    await bus.close();
    await assert.rejects(bus.publish(topic, text('x')), code('bus.closed'));
    for await (const _ of bus.consume(`${topic}-none`)) assert.fail('nothing was published');
  });
}

async function take(bus: Bus, topic: string, n: number): Promise<Uint8Array[]> {
  const taken: Uint8Array[] = [];
  for await (const delivery of bus.consume(topic)) {
    taken.push(delivery.data);
    await delivery.ack();
    if (taken.length === n) break;
  }
  return taken;
}

function hash(name: string): number {
  let h = 0;
  for (const c of name) h = (h * 31 + c.charCodeAt(0)) | 0;
  return h;
}
