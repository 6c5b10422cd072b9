import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { openServedHouse, type ServedHouse } from '../../../test/support/served-guardian.ts';
import { buildServer } from '../build-server.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { type HttpListening, listenHttp } from '../listen.ts';
import { serverMetrics } from '../server-metrics.ts';
import { type Lane, LaneConnection } from './lane-connection.ts';

let house: ServedHouse;
let http: HttpListening;
let owner: FastifyInstance;
let key: string;
let columns: number;

interface Made {
  readonly key: string;
  readonly id: string;
}

const makeKey = async (label: string): Promise<Made> => {
  const answer = await owner.inject({
    ...{ method: 'POST', url: '/v1/access' },
    payload: { label, roles: ['viewer'] },
  });
  return answer.json<Made>();
};

before(async () => {
  house = await openServedHouse();
  owner = await buildServer(house.guardian, { trust: 'local' });
  ({ key } = await makeKey('lane'));
  http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
  columns = house.schema.schema.columns.length;
});

after(async () => {
  await http.close();
  await owner.close();
  await house.close();
});

test('a connection that does not read its answer is not kept for ever', async () => {
  const written: Buffer[] = [];
  // Takes one part and is never done with it.
  const stuck = new Duplex({ read() {}, write: (part: Buffer) => void written.push(part), highWaterMark: 1 });
  const socket = Object.assign(stuck, {
    ...{ remoteAddress: '192.0.2.1', setNoDelay: () => socket, setTimeout: () => socket },
  }) as unknown as Socket;
  const lane = {
    ...{ isClosing: false, onAnswered: undefined, handOver: () => assert.fail(), forget: () => undefined },
    context: {
      guardian: house.guardian,
      metrics: serverMetrics(house.guardian.metrics),
      streams: new Set<() => void>(),
    },
    gate: { admit: () => Promise.resolve({ principal: 'tester', roles: [] }) },
  };
  new LaneConnection(lane as unknown as Lane, socket);
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [1, columns], data: Array(columns).fill(0) }];
  const body = JSON.stringify({ inputs });
  stuck.push(
    `POST /v2/models/flow/infer HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  while (!stuck.writableNeedDrain) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.match(written[0]?.toString('latin1') ?? '', /^HTTP\/1.1 200/);
  stuck.emit('timeout');
  assert.ok(stuck.destroyed, 'its time is over, though the answer has not gone');
});

/** A connection that is asked and read. */
class Client {
  readonly socket: Socket;
  #received = Buffer.alloc(0);

  constructor(allowHalfOpen = false) {
    const port = Number(new URL(http.url).port);
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen }).setNoDelay(true);
    this.socket.on('data', (part: Buffer) => {
      this.#received = Buffer.concat([this.#received, part]);
    });
    this.socket.on('error', () => undefined);
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(bytes);
    return this;
  }

  /** The next answer; its Date left out, for it is another each second. */
  async next(): Promise<{ status: number; head: string; body: string }> {
    for (;;) {
      const end = this.#received.indexOf('\r\n\r\n');
      const head = end < 0 ? '' : this.#received.toString('latin1', 0, end);
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
      if (this.#received.length >= end + 4 + length) {
        const body = this.#received.toString('latin1', end + 4, end + 4 + length);
        this.#received = this.#received.subarray(end + 4 + length);
        return { status: Number(head.slice(9, 12)), head: head.replace(/\r\nDate: [^\r]*/, ''), body };
      }
      await once(this.socket, 'data');
    }
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, 'close');
    assert.equal(this.#received.length, 0, this.#received.toString());
  }
}

const row = () => Array.from({ length: columns }, () => 0);
const inputs = (rows: number, data: unknown) => ({
  inputs: [{ name: 'features', datatype: 'FP32', shape: [rows, columns], data }],
});

interface Asked {
  readonly path?: string;
  readonly host?: string;
  readonly authorization?: string;
  readonly more?: readonly string[];
  readonly body?: string | Uint8Array;
  readonly length?: number;
}

function request(asked: Asked = {}): Buffer {
  const { path = '/v2/models/flow/infer', more = [], host = new URL(http.url).host } = asked;
  const body = Buffer.from((asked.body ?? JSON.stringify(inputs(1, row()))) as string);
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: ${host}`,
    ...(asked.authorization === '' ? [] : [`authorization: ${asked.authorization ?? `Bearer ${key}`}`]),
    ...more,
    `content-length: ${asked.length ?? body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

function binary(rows: number): Asked {
  const blob = Buffer.alloc(rows * columns * 4);
  const parameters = { binary_data_size: blob.length };
  const input = { name: 'features', datatype: 'FP32', shape: [rows, columns], parameters };
  const json = Buffer.from(JSON.stringify({ parameters: { binary_data_output: true }, inputs: [input] }));
  return {
    body: Buffer.concat([json, blob]),
    more: ['content-type: application/octet-stream', `inference-header-content-length: ${json.length}`],
  };
}

/** Inference requests that got this status so far. */
async function answered(status: string): Promise<number> {
  const route = `guardian_http_requests_total{route="POST /v2/models/:name/infer",status="${status}"}`;
  const text = await house.guardian.metrics.text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(route))
      ?.slice(route.length) ?? 0,
  );
}

/** A header that only the HTTP server takes. */
const FOREIGN = 'x-other: 1';

suite('the lane answers as the HTTP server does', () => {
  const cases: Readonly<Record<string, () => Asked>> = {
    'a row': () => ({}),
    'a row with a name': () => ({ body: JSON.stringify({ id: 'ü', ...inputs(1, row()) }) }),
    'a version': () => ({ path: '/v2/models/flow/versions/1.0.0/infer' }),
    bytes: () => binary(3),
    'bytes in several parts': () => binary(1_024),
    'a deadline and a priority': () => ({ more: ['guardian-timeout-ms: 5000', 'guardian-priority: batch'] }),
    'a bad deadline': () => ({ more: ['guardian-timeout-ms: soon'] }),
    'no key': () => ({ authorization: '' }),
    'a wrong key': () => ({ authorization: `Bearer ${key.slice(0, -1)}!` }),
    'another scheme': () => ({ authorization: 'Basic YTpi' }),
    'another host': () => ({ host: 'evil.example' }),
    'another content type': () => ({ more: ['content-type: text/plain'] }),
    'another charset': () => ({ more: ['content-type: application/json; charset=latin1'] }),
    'no JSON': () => ({ body: '{"inputs":' }),
    'a body of another shape': () => ({ body: '[]' }),
    'a value that is none': () => ({ body: JSON.stringify(inputs(1, row().with(0, Number.NaN))) }),
    'too many rows': () => ({ body: JSON.stringify(inputs(10_001, [])) }),
    'an unknown model': () => ({ path: '/v2/models/none/infer' }),
    'an unknown version': () => ({ path: '/v2/models/flow/versions/9.9.9/infer' }),
    'a length of the JSON that is none': () => ({ more: ['inference-header-content-length: -1'] }),
  };
  for (const [what, asked] of Object.entries(cases)) {
    test(`to ${what}`, async () => {
      const client = new Client();
      const plain = asked();
      const first = await client.send(request(plain)).next();
      const again = await client.send(request(plain)).next();
      const { more = [] } = plain;
      const other = await client.send(request({ ...plain, more: [...more, FOREIGN] })).next();
      client.socket.destroy();
      const fields = (head: string) =>
        head
          .split('\r\n')
          .map((line) => line.toLowerCase())
          .sort();
      assert.deepEqual([again.status, again.body], [first.status, first.body]);
      assert.deepEqual([first.status, first.body], [other.status, other.body]);
      assert.deepEqual(fields(first.head), fields(other.head));
    });
  }

  test('and counts the same metrics', async () => {
    const client = new Client();
    const count = () => answered('200');
    const before = await count();
    await client.send(request()).next();
    await client.send(request({ more: [FOREIGN] })).next();
    client.socket.destroy();
    assert.equal((await count()) - before, 2);
  });
});

suite('a connection of the lane', () => {
  test('gives the same answers wherever its bytes are cut', async () => {
    const bytes = request();
    const client = new Client();
    const expected = await client.send(bytes).next();
    for (const cut of [1, 5, 30, bytes.indexOf('\r\n\r\n') + 2, bytes.length - 300, bytes.length - 1]) {
      client.send(bytes.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal((await client.send(bytes.subarray(cut)).next()).body, expected.body, `cut at ${cut}`);
    }
    client.socket.destroy();
  });

  test('answers what comes before its turn, in order', async () => {
    const client = new Client();
    const named = (id: string) => request({ body: JSON.stringify({ id, ...inputs(1, row()) }) });
    client.send(named('a'));
    client.send(named('b'));
    client.send(Buffer.concat([named('c'), named('d'), request({ more: [FOREIGN] })]));
    for (const id of ['a', 'b', 'c', 'd', undefined]) {
      assert.equal((JSON.parse((await client.next()).body) as { id?: string }).id, id);
    }
    client.socket.destroy();
  });

  test('has its last answer, whatever it sends behind that request', async () => {
    const client = new Client();
    client.send(Buffer.concat([request({ more: ['connection: close'] }), request(), Buffer.from('?')]));
    const { status, head } = await client.next();
    assert.deepEqual([status, /connection: close/i.test(head)], [200, true]);
    await client.closed();
  });

  test('ends with the side that has said its last', async () => {
    const client = new Client();
    client.socket.end(request());
    await once(client.socket, 'close');
  });

  test('keeps nothing of a long body for who may not come in, and ends', async () => {
    const client = new Client(true);
    const { more = [] } = binary(1);
    const length = SERVER_LIMITS.inferBytes;
    const answer = await client
      .send(request({ more, length, body: 'x', authorization: 'Bearer agk_wrong' }))
      .next();
    assert.deepEqual([answer.status, /connection: close/i.test(answer.head)], [401, true]);
    const before = await answered('200');
    client
      .send(request())
      .send(Buffer.alloc(1024 * 1024))
      .send(request({ more: [FOREIGN] }));
    client.socket.end();
    await client.closed();
    assert.equal(await answered('200'), before, 'the rest of a body is no request');
  });

  test('is told of a body that is too long', async () => {
    const client = new Client();
    const answer = await client.send(request({ length: SERVER_LIMITS.inferBytes + 1, body: 'x' })).next();
    assert.equal(answer.status, 413);
    client.socket.destroy();
  });

  test('is refused at once when its key is revoked', async () => {
    const { key: text, id } = await makeKey('short-lived');
    const client = new Client();
    const authorization = `Bearer ${text}`;
    assert.equal((await client.send(request({ authorization })).next()).status, 200);
    assert.equal((await client.send(request({ authorization })).next()).status, 200);
    assert.equal((await owner.inject({ method: 'DELETE', url: `/v1/access/${id}` })).statusCode, 200);
    const refused = await client.send(request({ authorization })).next();
    assert.equal(refused.status, 401);
    assert.match(refused.body, /key-revoked/);
    assert.equal(
      (await client.send(request()).next()).status,
      200,
      'with another key on the same connection',
    );
    client.socket.destroy();
  });

  test('ends with the server, whether it has asked or not', async () => {
    const other = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
    const kept = http;
    http = other;
    try {
      const [asked, silent, halfway] = [new Client(), new Client(), new Client()];
      await asked.send(request()).next();
      await Promise.all(
        [silent, halfway].map(({ socket }) => socket.readyState === 'open' || once(socket, 'connect')),
      );
      await other.close();
      await Promise.all([asked.closed(), silent.closed(), halfway.closed()]);
    } finally {
      http = kept;
    }
  });
});
