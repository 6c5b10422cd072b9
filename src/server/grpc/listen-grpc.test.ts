import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, mock, suite, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import type { FastifyInstance } from 'fastify';
import { CertificateShop } from '../../../test/support/certificates.ts';
import { GrpcClient } from '../../../test/support/grpc-client.ts';
import { openServedHouse, type ServedHouse } from '../../../test/support/served-guardian.ts';
import { buildServer } from '../build-server.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { type HttpListening, listenHttp } from '../listen.ts';
import type { Role } from '../roles.ts';

let house: ServedHouse;
let owner: FastifyInstance;
let http: HttpListening;
let client: GrpcClient;
let key: string;
let width: number;

before(async () => {
  const rateLimit = { principalPerSecond: 1, principalBurst: 200 };
  house = await openServedHouse({ config: { server: { rateLimit } } });
  owner = await buildServer(house.guardian, { trust: 'local' });
  http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0, grpcPort: 0 });
  client = new GrpcClient(http.grpc ?? '');
  key = await makeKey('reader', ['viewer']);
  width = house.schema.schema.columns.length;
});

after(async () => {
  client.close();
  await http.close();
  await owner.close();
  await house.close();
});

async function makeKey(label: string, roles: Role[]): Promise<string> {
  const made = await owner.inject({ method: 'POST', url: '/v1/access', payload: { label, roles } });
  return made.json<{ key: string }>().key;
}

const revoke = (text: string) => owner.inject({ method: 'DELETE', url: `/v1/access/${text.split('_')[1]}` });

function inferMessage(rows: number, fields: object = {}) {
  return {
    model_name: 'flow',
    id: '7',
    inputs: [{ name: 'features', datatype: 'FP32', shape: [rows, width] }],
    raw_input_contents: [Buffer.alloc(rows * width * 4)],
    ...fields,
  };
}

suite('the inference protocol over gRPC', () => {
  test('says to anyone that it lives, and nothing else', async () => {
    assert.deepEqual((await client.call('ServerLive', {})).value, { live: true });
    for (const method of ['ServerReady', 'ModelInfer', 'RepositoryIndex', 'ModelStatistics'] as const) {
      const { status, code } = await client.call(method, {});
      assert.deepEqual([status, code], [16, 'server.key-missing'], method);
    }
    assert.equal((await client.call('ServerReady', {}, { key: 'agk_no' })).code, 'server.key-wrong');
  });

  test('asks operators alone to load and unload, and notes who was refused', async () => {
    const denied = mock.method(house.guardian, 'denied');
    const { status, code } = await client.call('RepositoryModelUnload', { model_name: 'flow' }, { key });
    assert.deepEqual([status, code], [7, 'server.role-missing']);
    assert.equal(denied.mock.calls[0]?.arguments[0].subject, 'grpc RepositoryModelUnload');
    denied.mock.restore();
  });

  test('scores raw and typed contents alike, and refuses both at once', async () => {
    const raw = await client.call('ModelInfer', inferMessage(2), { key });
    assert.equal(raw.status, 0, raw.says);
    const zeros = { fp32_contents: new Array(2 * width).fill(0) };
    const inputs = [{ name: 'features', datatype: 'FP32', shape: [2, width], contents: zeros }];
    const typed = await client.call('ModelInfer', { model_name: 'flow', inputs }, { key });
    assert.equal(typed.status, 0, typed.says);
    const [first] = (raw.value?.raw_output_contents ?? []) as Buffer[];
    const [output] = (typed.value?.outputs ?? []) as { contents: { fp32_contents: number[] } }[];
    assert.equal(first?.readFloatLE(4), output?.contents.fp32_contents[1]);
    const both = await client.call('ModelInfer', inferMessage(2, { inputs }), { key });
    assert.deepEqual([both.status, both.code], [3, 'server.tensor-invalid']);
    const ints = [{ ...inputs[0], contents: { int_contents: [1] } }];
    const wrong = await client.call('ModelInfer', { model_name: 'flow', inputs: ints }, { key });
    assert.match(wrong.says, /fp32_contents/);
  });

  test('hands deadline, priority and cancellation to the engine', async () => {
    const seen: { deadlineMs?: number; priority?: string; source?: string; signal?: AbortSignal }[] = [];
    const entered = Promise.withResolvers<void>();
    const spy = mock.method(house.guardian, 'scoreVectorColumns', (...args: unknown[]) => {
      const options = args[3] as (typeof seen)[number];
      seen.push(options);
      entered.resolve();
      return new Promise((_, reject) =>
        options.signal?.addEventListener('abort', () => reject(new Error('gone'))),
      );
    });
    const giveUp = new AbortController();
    const call = client.call(
      'ModelInfer',
      inferMessage(1, { parameters: { priority: { int64_param: 2 } } }),
      {
        key,
        deadline: Date.now() + 60_000,
        signal: giveUp.signal,
      },
    );
    await entered.promise;
    const [options] = seen;
    assert.ok((options?.deadlineMs ?? 0) > 0 && (options?.deadlineMs ?? 0) <= 60_000);
    assert.deepEqual([options?.priority, options?.source], ['batch', '127.0.0.1']);
    giveUp.abort();
    assert.equal((await call).status, 1);
    if (options?.signal?.aborted === false) await once(options.signal, 'abort');
    spy.mock.restore();
  });

  test('answers a stream in order, says what is wrong with one request, and ends it where its key is revoked', async () => {
    const own = await makeKey('streamer', ['viewer']);
    const stream = client.stream(own);
    const answers: { error_message: string; infer_response: { id: string } }[] = [];
    const ended = once(stream, 'error');
    const three = Promise.withResolvers<void>();
    stream.on('data', (answer) => {
      answers.push(answer);
      if (answers.length === 3) three.resolve();
    });
    stream.write(inferMessage(1000, { id: 'a' }));
    stream.write(inferMessage(1, { id: 'b', model_name: 'none' }));
    stream.write(inferMessage(1, { id: 'c' }));
    await three.promise;
    assert.deepEqual(
      answers.map((each) => [each.infer_response.id, each.error_message]),
      [
        ['a', ''],
        ['b', 'no model none is loaded here'],
        ['c', ''],
      ],
    );
    await revoke(own);
    stream.write(inferMessage(1));
    const [error] = (await ended) as [{ code: number; metadata: { get(name: string): unknown[] } }];
    assert.deepEqual([error.code, error.metadata.get('guardian-code')], [16, ['server.key-revoked']]);
  });

  test('lets no caller take every stream, and takes one again for one that ends', async () => {
    const many = await makeKey('many', ['viewer']);
    const opened: ReturnType<GrpcClient['stream']>[] = [];
    const answered = async (own: string) => {
      const stream = client.stream(own);
      const answer = new Promise<unknown>((resolve) => stream.once('data', resolve).once('error', resolve));
      stream.write(inferMessage(1));
      opened.push(stream);
      return (await answer) as { code?: number; details?: string; infer_response?: object };
    };
    for (let i = 0; i < SERVER_LIMITS.inferStreamsPerCaller; i++) {
      assert.ok((await answered(many)).infer_response !== undefined);
    }
    const refused = await answered(many);
    assert.equal(refused.code, 8, 'RESOURCE_EXHAUSTED');
    assert.equal(refused.details, `${SERVER_LIMITS.inferStreamsPerCaller} streams of this caller are open`);
    assert.ok((await answered(key)).infer_response !== undefined, 'another caller');
    const [first] = opened;
    const ended = once(first as (typeof opened)[number], 'end');
    first?.end();
    await ended;
    assert.ok((await answered(many)).infer_response !== undefined, 'its own place again');
    for (const stream of opened) stream.on('error', () => undefined).cancel();
  });

  test('refuses messages that are too long, and methods that are not served', async () => {
    const long = inferMessage(0, { raw_input_contents: [Buffer.alloc(SERVER_LIMITS.inferBytes + 1)] });
    assert.equal((await client.call('ModelInfer', long, { key })).status, 8);
    const many = inferMessage(10_001, { raw_input_contents: [Buffer.alloc(4)] });
    assert.deepEqual((await client.call('ModelInfer', many, { key })).code, 'server.too-many-rows');
  });

  test('says no more of a name than its beginning', async () => {
    const { code, says } = await client.call('ModelMetadata', { name: '\u{1F6AB}'.repeat(500_000) }, { key });
    assert.equal(code, 'server.model-unknown');
    assert.ok(says.startsWith('no model \u{1F6AB}') && says.length <= 1_024);
    assert.ok(says.isWellFormed());
  });

  test('tells the caller of a message that is no protobuf, and takes the next', async () => {
    const broken = await client.callBytes('ModelInfer', Buffer.from('ffffff', 'hex'), key);
    assert.deepEqual([broken.status, broken.code], [3, 'server.body-malformed']);
    assert.equal((await client.call('ModelInfer', inferMessage(1), { key })).status, 0);
  });

  test('limits callers as HTTP does, with the same bucket', async () => {
    const busy = await makeKey('busy', ['viewer']);
    const headers = { authorization: `Bearer ${busy}` };
    for (let i = 0; i < 150; i++) await fetch(`${http.url}/v2`, { headers });
    let last = await client.call('ServerMetadata', {}, { key: busy });
    let taken = 1;
    for (; last.status === 0 && taken < 100; taken++)
      last = await client.call('ServerMetadata', {}, { key: busy });
    assert.deepEqual([last.status, last.code, taken], [8, 'server.rate-limited', 51]);
    assert.equal((await client.call('ServerMetadata', {}, { key })).status, 0);
  });

  test('outlives what is no HTTP/2, and what breaks off', async () => {
    const [host = '', port = ''] = (http.grpc ?? '').split(':');
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff', '']) {
      const socket = connect(Number(port), host).on('error', () => undefined);
      await once(socket, 'connect');
      socket.end(Buffer.from(bytes, 'latin1'));
      socket.resume();
      await once(socket, 'close');
    }
    assert.deepEqual((await client.call('ServerLive', {})).value, { live: true });
  });
});

suite('gRPC with TLS', () => {
  test('takes keys and certificates as HTTPS does', async () => {
    const shop = new CertificateShop();
    const site = shop.authority('Site');
    const foreign = shop.authority('Foreign');
    const server = shop.issue(site, {
      names: ['guardian.test'],
      alternative: 'DNS:localhost,IP:127.0.0.1',
      usage: 'serverAuth',
    });
    const sensor = shop.issue(site, { names: ['sensor-7'] });
    const tlsHouse = await openServedHouse({
      now: Date.now() + 60_000,
      config: {
        server: { tls: { certFile: server.certFile, keyFile: server.keyFile, clientCaFile: site.certFile } },
      },
    });
    const local = await buildServer(tlsHouse.guardian, { trust: 'local' });
    const listening = await listenHttp(tlsHouse.guardian, { host: '127.0.0.1', port: 0, grpcPort: 0 });
    const target = (listening.grpc ?? '').replace('127.0.0.1', 'localhost');
    const ca = Buffer.from(site.cert);
    const callWith = async (channel: ReturnType<typeof credentials.createSsl>, own?: string) => {
      const secure = new GrpcClient(target, channel);
      const end = await secure.call('ServerReady', {}, own === undefined ? {} : { key: own });
      secure.close();
      return end;
    };
    const shown = (by: { key: string; cert: string }) =>
      credentials.createSsl(ca, Buffer.from(by.key), Buffer.from(by.cert));

    assert.equal((await callWith(credentials.createSsl(ca))).code, 'server.key-missing');
    assert.equal((await callWith(shown(sensor))).code, 'server.role-missing');
    const payload = { certificate: 'sensor-7', roles: ['viewer'] };
    await local.inject({ method: 'POST', url: '/v1/access/certificates', payload });
    assert.deepEqual((await callWith(shown(sensor))).value, { ready: true });
    const stranger = shop.issue(foreign, { names: ['sensor-7'] });
    assert.equal((await callWith(shown(stranger))).code, 'server.certificate-wrong');
    assert.equal((await callWith(credentials.createInsecure())).status, 14, 'no TLS');

    await listening.close();
    await local.close();
    await tlsHouse.close();
    shop.close();
  });
});
