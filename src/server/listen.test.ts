import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, mock, suite, test } from 'node:test';
import type { FastifyReply } from 'fastify';
import { openServedHouse, type ServedHouse, sentAttack } from '../../test/support/served-guardian.ts';
import { stateLayout } from '../storage/index.ts';
import { FlowBatch, type FlowRecord } from '../traffic/index.ts';
import { ensureAdminKey } from './access.ts';
import { buildServer } from './build-server.ts';
import { streamDetections } from './detection-stream.ts';
import { SERVER_LIMITS } from './limits.ts';
import { type Listening, listenHttp, listenSocket } from './listen.ts';
import { flowSchema } from './requests.ts';
import { serverMetrics } from './server-metrics.ts';

let house: ServedHouse;
let http: Listening & { readonly url: string };
let key: string;

before(async () => {
  house = await openServedHouse();
  const owner = await buildServer(house.guardian, { trust: 'local' });
  await owner.inject({
    method: 'POST',
    url: '/v1/access',
    payload: { label: 'early', roles: ['viewer'] },
  });
  await owner.close();
  const file = await ensureAdminKey(house.guardian);
  assert.equal(file, stateLayout(house.guardian.stateFolder).adminKey);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  key = readFileSync(file, 'utf8').trim();
  http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
});

after(async () => {
  await http.close();
  await house.close();
});

const bearer = () => ({ authorization: `Bearer ${key}` });

/** Sends raw text and gives back everything the server says before it closes. */
function talk(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(http.url).port), '127.0.0.1', () => socket.write(text));
    let said = '';
    socket.on('data', (data) => {
      said += data.toString();
    });
    socket.once('close', () => resolve(said));
    socket.once('error', reject);
  });
}

/** A response whose reader takes nothing until it is told to. */
class SlowResponse extends EventEmitter {
  readonly written: string[] = [];
  destroyed = false;
  writableNeedDrain = false;
  readonly ended: Promise<void>;
  readonly #progress = new EventEmitter();
  #end: () => void = () => {};
  #isSlow = true;

  constructor() {
    super();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  writeHead(): void {}

  write(text: string): boolean {
    this.written.push(text);
    this.#progress.emit('written');
    return !this.#isSlow;
  }

  async reads(n: number): Promise<void> {
    while (this.written.length < n) await once(this.#progress, 'written');
  }

  drain(): void {
    this.#isSlow = false;
    this.emit('drain');
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }

  end(): void {
    this.#end();
  }
}

/** The flow that the server makes of one that was sent. */
function flowOf(sent: Record<string, unknown>): FlowRecord {
  return flowSchema.parse(sent);
}

suite('the admin key', () => {
  test('is made once, whatever other keys there are, and works', async () => {
    assert.equal(await ensureAdminKey(house.guardian), undefined);
    const response = await fetch(`${http.url}/v1/access`, { headers: bearer() });
    assert.equal(response.status, 200);
  });
});

suite('HTTP on loopback', () => {
  test('is refused anywhere else without TLS', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org', '127.0.0.1.example.org']) {
      await assert.rejects(listenHttp(house.guardian, { host, port: 0 }), { code: 'server.tls-required' });
    }
  });

  test('takes its own names and its own origin, and no other', async () => {
    const { port } = new URL(http.url);
    const get = (host: string, origin?: string) =>
      new Promise<number>((resolve, reject) => {
        const headers = { ...bearer(), host, ...(origin === undefined ? {} : { origin }) };
        request({ host: '127.0.0.1', port, path: '/v1/status', headers }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        })
          .once('error', reject)
          .end();
      });
    assert.equal(await get(`localhost:${port}`), 200);
    assert.equal(await get(`127.0.0.1:${port}`, `http://127.0.0.1:${port}`), 200);
    assert.equal(await get(`[::1]:${port}`), 200);
    assert.equal(await get(`rebound.example:${port}`), 421);
    assert.equal(await get('localhost'), 421);
    assert.equal(await get(`localhost:${port}`, 'http://localhost:1'), 403);
    assert.equal(await get(`localhost:${port}`, `https://localhost:${port}`), 403);
  });

  test('answers what is no HTTP with 400 and JSON, counts it, and goes on', async () => {
    const said = await talk('NONSENSE\r\n\r\n');
    assert.match(said, /^HTTP\/1\.1 400 /);
    assert.match(said, /"code":"server\.request-malformed"/);
    const long = await talk(
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(SERVER_LIMITS.headerBytes)}\r\n\r\n`,
    );
    assert.match(long, /^HTTP\/1\.1 431 /);
    const metrics = await (await fetch(`${http.url}/metrics`, { headers: bearer() })).text();
    assert.match(
      metrics,
      /guardian_refusals_total\{code="server\.request-malformed",category="validation"\} 2/,
    );
  });

  test('refuses an application of trust that is reached by the network', async () => {
    const app = await buildServer(house.guardian, { trust: 'local' });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const response = await fetch(`${url}/v1/status`);
    assert.equal(response.status, 403);
    assert.equal(((await response.json()) as { code: string }).code, 'server.transport-refused');
    await app.close();
  });
});

suite("the state's socket", () => {
  test('is for its owner alone, takes over from a dead one, and needs no key', async () => {
    await (await listenSocket(house.guardian)).close();
    const left = join(house.guardian.stateFolder, '.scratch-left');
    mkdirSync(left);
    const socket = await listenSocket(house.guardian);
    assert.throws(() => statSync(left), { code: 'ENOENT' });
    assert.equal(statSync(socket.path).mode & 0o777, 0o600);
    const status = await new Promise<number>((resolve, reject) => {
      request({ socketPath: socket.path, path: '/v1/access', headers: { host: 'localhost' } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .once('error', reject)
        .end();
    });
    assert.equal(status, 200);
    await socket.close();
    assert.throws(() => statSync(socket.path), { code: 'ENOENT' });
  });
});

suite('the stream of detections', { timeout: 20_000 }, () => {
  test('tells new states, and frees what it took when its reader leaves', async () => {
    const reader = new AbortController();
    const response = await fetch(`${http.url}/v1/detections/stream`, {
      headers: bearer(),
      signal: reader.signal,
    });
    assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
    const body = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    assert.ok(body);
    await fetch(`${http.url}/v1/events`, {
      method: 'POST',
      headers: { ...bearer(), 'content-type': 'application/json' },
      body: JSON.stringify(Array.from({ length: 8 }, (_, i) => sentAttack({ destinationPort: i + 1 }))),
    });
    let text = '';
    while (!/^data: .*\n\n/m.test(text)) {
      const { value, done } = await body.read();
      assert.ok(!done, text);
      text += value;
    }
    const [, data = '{}'] = /^data: (.*)$/m.exec(text) ?? [];
    assert.equal((JSON.parse(data) as { kind: string }).kind, 'port-scan');
    assert.match(text, /^id: [\w.-]+$/m);
    reader.abort();
    await assert.rejects(body.read());
  });

  test('costs a reader that does not read its oldest states, counted, and nobody else anything', async () => {
    const { guardian } = house;
    const raw = new SlowResponse();
    const context = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set<() => void>() };
    const reply = { raw, hijack() {} };
    streamDetections(context, reply as unknown as FastifyReply, { principal: 'tester' });
    assert.equal(context.streams.size, 1);
    await raw.reads(1);
    const { detections } = await guardian.ingestFlows(
      FlowBatch.from(
        Array.from({ length: 8 }, (_, i) => flowOf(sentAttack({ destinationPort: i + 1 }))),
        'packets',
      ),
      { route: 'slow' },
    );
    assert.equal(detections.length, 1);
    // It waits for the first to drain; more than the buffer holds come in the meantime.
    await raw.reads(2);
    const flows = Array.from({ length: (SERVER_LIMITS.streamBuffer + 10) * 8 }, (_, i) =>
      flowOf(sentAttack({ sourceAddress: `10.1.${i >> 10}.${(i >> 3) & 127}`, destinationPort: i & 7 })),
    );
    await guardian.ingestFlows(FlowBatch.from(flows, 'packets'), { route: 'slow' });
    raw.drain();
    await raw.reads(4);
    assert.match(raw.written[2] ?? '', /^event: dropped\ndata: \{"dropped":\d+\}/);
    raw.destroy();
    for (const end of context.streams) end();
    await raw.ended;
    assert.equal(context.streams.size, 0);
  });

  test('beats while nothing is found, but not on top of what its reader has not taken', async () => {
    const { guardian } = house;
    const raw = new SlowResponse();
    const context = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set<() => void>() };
    const reply = { raw, hijack() {} };
    mock.timers.enable({ apis: ['setInterval'] });
    try {
      streamDetections(context, reply as unknown as FastifyReply, { principal: 'tester', heartbeatMs: 40 });
      mock.timers.tick(39);
      assert.deepEqual(raw.written, [': open\n\n']);
      mock.timers.tick(1);
      mock.timers.tick(40);
      assert.deepEqual(raw.written.slice(1), [': still here\n\n', ': still here\n\n']);
      raw.writableNeedDrain = true;
      mock.timers.tick(400);
      assert.equal(raw.written.length, 3);
      raw.writableNeedDrain = false;
      raw.destroy();
      for (const end of context.streams) end();
      await raw.ended;
      mock.timers.tick(400);
      assert.equal(raw.written.length, 3);
    } finally {
      mock.timers.reset();
    }
  });

  test('frees what it took where its reader left before it began', async () => {
    const { guardian } = house;
    const raw = new SlowResponse();
    raw.destroy();
    const context = { guardian, metrics: serverMetrics(guardian.metrics), streams: new Set<() => void>() };
    streamDetections(context, { raw, hijack() {} } as unknown as FastifyReply, { principal: 'tester' });
    await Promise.race([raw.ended, new Promise((resolve) => setImmediate(resolve))]);
    assert.equal(context.streams.size, 0);
  });

  test('ends with the key it was opened with', async () => {
    const { guardian } = house;
    const owner = await buildServer(guardian, { trust: 'local' });
    const payload = { label: 'short', roles: ['viewer'] };
    const made = await owner.inject({ method: 'POST', url: '/v1/access', payload });
    const { id, key: text } = made.json<{ id: string; key: string }>();
    mock.timers.enable({ apis: ['setInterval'] });
    try {
      const response = await fetch(`${http.url}/v1/detections/stream`, {
        headers: { authorization: `Bearer ${text}` },
      });
      assert.equal(response.status, 200);
      const body = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      assert.match((await body?.read())?.value ?? '', /^: open/);
      mock.timers.tick(SERVER_LIMITS.streamHeartbeatMs);
      assert.match((await body?.read())?.value ?? '', /^: still here/);
      await owner.inject({ method: 'DELETE', url: `/v1/access/${id}` });
      mock.timers.tick(SERVER_LIMITS.streamHeartbeatMs);
      assert.match((await body?.read())?.value ?? '', /^: still here/);
      assert.equal((await body?.read())?.done, true);
    } finally {
      mock.timers.reset();
      await owner.close();
    }
  });

  test('ends when the server closes, and is bounded in number for each caller', async () => {
    const server = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
    const open = (): Promise<Response> => fetch(`${server.url}/v1/detections/stream`, { headers: bearer() });
    const streams = await Promise.all(Array.from({ length: SERVER_LIMITS.streamsPerCaller }, open));
    assert.ok(streams.every(({ status }) => status === 200));
    const refused = await open();
    assert.equal(refused.status, 503);
    assert.equal(((await refused.json()) as { code: string }).code, 'server.streams-full');
    const ends = streams.map((stream) => stream.text());
    await server.close();
    for (const end of await Promise.all(ends)) assert.match(end, /^: open/);
  });
});
