import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { openServedHouse, type ServedHouse } from '../../../test/support/served-guardian.ts';
import { ServerError } from '../errors.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { serverMetrics } from '../server-metrics.ts';
import { type Lane, LaneConnection } from './lane-connection.ts';

let house: ServedHouse;

before(async () => {
  house = await openServedHouse();
});

after(async () => {
  await house.close();
});

/** A connection whose writes are done when `taken` is called. */
function connect(admit: () => Promise<unknown>) {
  const written: string[] = [];
  const pending: (() => void)[] = [];
  const stream = new Duplex({
    ...{ read() {}, writableHighWaterMark: 1024 * 1024 },
    write: (part: Buffer, _, done: () => void) => {
      written.push(part.toString('latin1'));
      pending.push(done);
    },
  });
  const socket = Object.assign(stream, {
    ...{ remoteAddress: '192.0.2.1', setNoDelay: () => socket, setTimeout: () => socket },
    destroySoon: () => stream.end(() => stream.destroy()),
  });
  const lane = {
    ...{ isClosing: false, onAnswered: undefined, handOver: () => assert.fail(), forget: () => undefined },
    context: { guardian: house.guardian, metrics: serverMetrics(house.guardian.metrics) },
    gate: { admit },
  };
  const connection = new LaneConnection(lane as unknown as Lane, socket as unknown as Socket);
  const taken = () => {
    for (const done of pending.splice(0)) done();
  };
  return { connection, stream, written, taken };
}

function request(): { head: string; body: string } {
  const columns = house.schema.schema.columns.length;
  const data = Array(columns).fill(0);
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [1, columns], data }];
  const body = JSON.stringify({ inputs });
  return {
    head: `POST /v2/models/flow/infer HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`,
    body,
  };
}

const soon = () => new Promise((resolve) => setImmediate(resolve));

test('one that goes on sending behind its last answer ends all the same', async (t) => {
  const refused = new ServerError('server.key-wrong', 'no');
  const { stream, written, taken } = connect(() => Promise.reject(refused));
  t.mock.timers.enable({ apis: ['setTimeout'] });
  stream.push(request().head);
  while (written.length === 0) await soon();
  taken();
  assert.match(written[0] ?? '', /^HTTP\/1.1 401[\s\S]*Connection: close/);
  stream.push('more');
  await soon();
  assert.equal(stream.destroyed, false, 'so that it gets to read the answer');
  t.mock.timers.tick(SERVER_LIMITS.requestTimeoutMs);
  assert.equal(stream.destroyed, true);
});

test('is read on after a body that came while its sender was let in', async () => {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const { stream, written, taken } = connect(() => promise);
  const { head, body } = request();
  stream.push(head + body.slice(0, 10));
  await soon();
  // What stands before the lane has room again.
  stream.resume();
  stream.push(body.slice(10));
  await soon();
  resolve({});
  while (written.length === 0) await soon();
  taken();
  await soon();
  assert.match(written[0] ?? '', /^HTTP\/1.1 200/);
  assert.equal(stream.isPaused(), false);
  stream.destroy();
});

test('keeps its answer when the server closes before it has been taken', async () => {
  const { connection, stream, written, taken } = connect(() => Promise.resolve({}));
  const { head, body } = request();
  stream.push(head + body);
  while (written.length === 0) await soon();
  await soon();
  connection.endWhereIdle();
  assert.equal(stream.destroyed, false);
  taken();
  await soon();
  assert.equal(stream.destroyed, true);
});
