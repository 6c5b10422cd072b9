import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Priority } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Queued } from './load-shedder.ts';
import { FrameReader } from './request-frames.ts';
import { type Front, SheddingConnection } from './shedding-connection.ts';

const infer = (id: number, body: number, priority: Priority = 'live') =>
  Buffer.from(
    `POST /v2/models/flow/infer HTTP/1.1\r\nHost: a\r\nX-Id: ${id}\r\nguardian-priority: ${priority}\r\nContent-Length: ${body}\r\n\r\n${'b'.repeat(body)}`,
  );
const read = (id: number) => Buffer.from(`GET /metrics HTTP/1.1\r\nHost: a\r\nX-Id: ${id}\r\n\r\n`);

suite('the frame of a request', () => {
  test('ends where its length says, wherever it begins', () => {
    const reader = new FrameReader();
    const bytes = Buffer.concat([read(1), infer(2, 5, 'batch')]);
    assert.equal(reader.read(bytes, 0), 'other');
    assert.equal(reader.headBytes, read(1).length);
    assert.equal(reader.read(bytes, reader.headBytes), 'infer');
    assert.deepEqual(
      [reader.headBytes + reader.bodyBytes, reader.priority],
      [infer(2, 5, 'batch').length, 'batch'],
    );
  });

  test('is not all there at any length below that of its head', () => {
    const reader = new FrameReader();
    const bytes = infer(1, 0);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(reader.read(bytes.subarray(0, length), 0), 'partial', `${length}`);
    }
    assert.equal(reader.read(bytes, 0), 'infer');
  });

  test('is left to the parser where two readers might not agree on it', () => {
    const reader = new FrameReader();
    const line = 'POST /v2/models/flow/infer HTTP/1.1\r\nHost: a\r\n';
    for (const head of [
      `${line}Content-Length: 1\r\nContent-Length: 1\r\n\r\n`,
      `${line}Content-Length: +1\r\n\r\n`,
      `${line}Content-Length: 1, 1\r\n\r\n`,
      `${line}Content-Length: 0x1\r\n\r\n`,
      `${line}Content-Length : 1\r\n\r\n`,
      `${line}Content-Length:\r\n\r\n`,
      `${line}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      `${line}transfer-encoding: identity\r\n\r\n`,
      `${line}Content-Length: 1\r\n folded\r\n\r\n`,
      `${line}Content-Length: 1\n\r\n`,
      `${line}Content-Length: 1\rX: 2\r\n\r\n`,
      `${line}Content-Length: 1\r\nExpect: 100-continue\r\n\r\n`,
      `${line}Content-Length: 1\r\nUpgrade: h2c\r\n\r\n`,
      `${line}Content-Length: 1\r\nConnection: upgrade\r\n\r\n`,
      `${line}\r\n`,
      'POST /v2/models/flow/infer HTTP/1.0\r\nContent-Length: 1\r\n\r\n',
      'CONNECT a:1 HTTP/1.1\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\n',
      '\r\nGET / HTTP/1.1\r\n\r\n',
    ]) {
      assert.equal(reader.read(Buffer.from(head), 0), 'opaque', JSON.stringify(head));
    }
    assert.equal(reader.read(Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}`), 0), 'opaque');
  });
});

/** A socket that notes what is written, and a parser that notes what it is given. */
function setUp(verdict: (id: number) => 'pass' | 'wait') {
  const log: string[] = [];
  const socket = Object.assign(new EventEmitter(), {
    writableEnded: false,
    write: (bytes: Buffer) => {
      for (let i = 0; i < bytes.length; i++) log.push('refused');
      return true;
    },
    end: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
  });
  const queue: Queued[] = [];
  let given = Buffer.alloc(0);
  let turn = 0;
  const front: Front = {
    offer: (connection) => {
      if (verdict(turn++) === 'pass') return true;
      queue.push(connection);
      return false;
    },
    freed: () => undefined,
    noteHalf: () => undefined,
    // A byte a refusal.
    refusal: () => Buffer.from('r'),
  };
  const toParser = (bytes: Buffer) => {
    given = Buffer.concat([given, bytes]);
  };
  const connection = new SheddingConnection(socket as unknown as Socket, toParser, front);
  /** The request that the parser has whole; it is answered with this. */
  const answer = (): boolean => {
    const reader = new FrameReader();
    const kind = reader.read(given, 0);
    const length = reader.headBytes + reader.bodyBytes;
    if ((kind !== 'infer' && kind !== 'other') || given.length < length) return false;
    log.push(`answered ${/X-Id: (\d+)/.exec(given.toString())?.[1]}`);
    given = given.subarray(length);
    connection.answered();
    return true;
  };
  return { connection, queue, log, answer };
}

test('each request has its answer in its place, however the bytes come and whoever is refused', () => {
  const request = fc.record({
    kind: fc.constantFrom('infer', 'read'),
    body: fc.integer({ min: 0, max: 400 }),
    passes: fc.boolean(),
    shed: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 60 }),
      (requests, cuts) => {
        const bytes = Buffer.concat(
          requests.map(({ kind, body }, id) => (kind === 'infer' ? infer(id, body) : read(id))),
        );
        const { connection, queue, log, answer } = setUp((turn) =>
          requests[turn % requests.length]?.passes ? 'pass' : 'wait',
        );
        let shed = 0;
        const work = () => {
          for (let isDone = false; !isDone; ) {
            isDone = !answer();
            const queued = queue.shift();
            if (queued === undefined) continue;
            isDone = false;
            if (requests[shed++ % requests.length]?.shed) {
              queued.refuse('queue-delay', () => requests[shed++ % requests.length]?.shed === true);
            } else queued.pass();
          }
        };
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + (cuts[i % cuts.length] as number));
          connection.receive(bytes.subarray(at, end), 0);
          at = end;
          if (i % 3 === 0) work();
        }
        work();
        assert.equal(log.length, requests.length);
        for (const [id, line] of log.entries()) {
          if (line !== 'refused') assert.equal(line, `answered ${id}`);
          else assert.equal(requests[id]?.kind, 'infer');
        }
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});

test('what is not understood passes untouched, and all that follows', () => {
  const { connection, log } = setUp(() => 'wait');
  const given: Buffer[] = [];
  const odd = Buffer.from('POST /v2/models/flow/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n');
  const untouched = new SheddingConnection(
    new EventEmitter() as unknown as Socket,
    (bytes) => given.push(bytes),
    { offer: () => false, freed: () => undefined, noteHalf: () => undefined, refusal: () => odd },
  );
  untouched.receive(odd, 0);
  untouched.receive(infer(1, 3), 0);
  assert.deepEqual(Buffer.concat(given), Buffer.concat([odd, infer(1, 3)]));
  connection.receive(infer(2, 3), 0);
  assert.deepEqual([connection.isWaiting, log.length], [true, 0]);
});

/** A socket that counts its pauses, before a front where everything waits. */
function waitingConnection() {
  const socket = Object.assign(new EventEmitter(), {
    ...{ paused: 0, destroyed: false, writableEnded: false },
    ...{ write: () => true, end: () => undefined, resume: () => undefined },
    pause: () => socket.paused++,
    destroy: () => {
      socket.destroyed = true;
    },
  });
  const front: Front = {
    ...{ offer: () => false, freed: () => undefined, noteHalf: () => undefined },
    refusal: () => Buffer.from('r'),
  };
  const connection = new SheddingConnection(socket as unknown as Socket, () => undefined, front);
  return { socket, connection };
}

test('what waits is bounded, whoever reads on', () => {
  const { socket, connection } = waitingConnection();
  connection.receive(infer(1, SERVER_LIMITS.waitingBytes), 0);
  assert.equal(socket.paused, 1);
  connection.receive(infer(2, 1), 0);
  assert.equal(socket.paused, 2, 'what stands behind it had the connection read again');
});

test('the rest of a refused body is not taken for ever', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const ends = (bytes: Buffer, more: readonly Buffer[]) => {
    const { socket, connection } = waitingConnection();
    connection.receive(bytes, 0);
    connection.refuse('queue-delay', () => false);
    for (const each of more) connection.receive(each, 0);
    t.mock.timers.tick(SERVER_LIMITS.requestTimeoutMs);
    return socket.destroyed;
  };
  const whole = infer(1, 3);
  assert.equal(ends(whole.subarray(0, -2), [whole.subarray(-2, -1)]), true);
  assert.equal(ends(whole.subarray(0, -2), [whole.subarray(-2)]), false);
  const last = Buffer.from(whole.toString().replace('Host: a', 'Host: a\r\nConnection: close'));
  assert.equal(ends(last, []), true, 'behind the last answer');
});

test('a request that came in many parts is joined once', (t) => {
  const { connection } = waitingConnection();
  const bytes = infer(1, 4_000);
  const { length } = infer(1, 0);
  connection.receive(bytes.subarray(0, length + 3), 0);
  for (let at = length + 3; at < bytes.length; at++) connection.receive(bytes.subarray(at, at + 1), 0);
  const concat = t.mock.method(Buffer, 'concat');
  connection.pass();
  assert.equal(concat.mock.callCount(), 1);
});
