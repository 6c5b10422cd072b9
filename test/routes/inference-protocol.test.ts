import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, mock, suite, test } from 'node:test';
import { Ajv } from 'ajv';
import type { FastifyInstance } from 'fastify';
import { parse } from 'yaml';
import { buildServer } from '../../src/server/index.ts';
import { requireData } from '../support/requires.ts';
import { flowCandidate, openServedHouse, type ServedHouse, sentFlow } from '../support/served-guardian.ts';

let house: ServedHouse;
let app: FastifyInstance;
let columns: number;
let packets: number;

before(async () => {
  house = await openServedHouse();
  app = await buildServer(house.guardian, { trust: 'local' });
  columns = house.schema.schema.columns.length;
  packets = house.schema.schema.columns.findIndex(({ name }) => name === 'forward_packets');
});

after(async () => {
  await app.close();
  await house.close();
});

/** A benign row and an attack, as the extractor would give them. */
function rows(): number[][] {
  return [1, 7].map((value) => Array.from({ length: columns }, (_, c) => (c === packets ? value : 0)));
}

function infer(data: unknown[], extra: Record<string, unknown> = {}, path = '/v2/models/flow/infer') {
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [2, columns], data }];
  return app.inject({ method: 'POST', url: path, payload: { inputs, ...extra } });
}

suite('the Open Inference Protocol', () => {
  test('is answered as its own specification says', async (t) => {
    const path = requireData(t, 'vectors/oip/open_inference_rest.yaml');
    if (path === undefined) return;
    const { components } = parse(readFileSync(path, 'utf8')) as { components: { schemas: object } };
    const ajv = new Ajv({ strict: false, allErrors: true });
    ajv.addSchema({ $id: 'oip', components });
    const check = (schema: string, value: unknown) => {
      const validate = ajv.compile({ $ref: `oip#/components/schemas/${schema}` });
      assert.ok(validate(value), `${schema}: ${ajv.errorsText(validate.errors)}`);
    };
    const get = async (url: string) => (await app.inject({ url })).json<unknown>();
    for (const end of ['', '/']) {
      check('metadata_server_response', await get(`/v2${end}`));
      check('metadata_model_response', await get(`/v2/models/flow${end}`));
      check('metadata_model_response', await get(`/v2/models/flow/versions/1.0.0${end}`));
    }
    const request = {
      id: '42',
      inputs: [{ name: 'features', datatype: 'FP32', shape: [2, columns], data: rows() }],
      outputs: [{ name: 'verdict' }],
    };
    check('inference_request', request);
    for (const url of ['/v2/models/flow/infer', '/v2/models/flow/versions/1.0.0/infer/']) {
      const response = await app.inject({ method: 'POST', url, payload: request });
      assert.equal(response.statusCode, 200);
      check('inference_response', response.json());
    }
    check('inference_error_response', (await app.inject('/v2/models/none')).json());
    check('metadata_model_error_response', (await app.inject('/v2/models/none')).json());
  });

  test('says live, ready and ready per model, with and without version and slash', async () => {
    for (const path of [
      'health/live',
      'health/ready',
      'models/flow/ready',
      'models/flow/versions/1.0.0/ready',
    ]) {
      for (const end of ['', '/'])
        assert.equal((await app.inject(`/v2/${path}${end}`)).statusCode, 200, path);
    }
    assert.equal((await app.inject('/v2/models/none/ready')).statusCode, 404);
    assert.equal((await app.inject('/v2/models/flow/versions/1.0.1/ready')).statusCode, 404);
  });

  test('says not ready with 503 before a model is loaded', async () => {
    const empty = await openServedHouse({ withModel: false });
    const server = await buildServer(empty.guardian, { trust: 'local' });
    const response = await server.inject('/v2/health/ready');
    assert.equal(response.statusCode, 503);
    assert.equal(response.json<{ code: string }>().code, 'server.not-ready');
    await server.close();
    await empty.close();
  });

  test('gives the same answer for nested and flat data, and names probability, verdict and kind', async () => {
    const nested = await infer(rows(), { id: 'a' });
    assert.equal(nested.statusCode, 200, nested.body);
    const answer = nested.json<{
      id: string;
      outputs: { name: string; data: unknown[]; shape: number[] }[];
    }>();
    assert.deepEqual((await infer(rows().flat(), { id: 'a' })).json(), answer);
    assert.equal(answer.id, 'a');
    const [probability, verdict, kind] = answer.outputs;
    assert.deepEqual(
      answer.outputs.map(({ name, shape }) => [name, ...shape]),
      [
        ['probability', 2],
        ['verdict', 2],
        ['kind', 2],
      ],
    );
    assert.ok(Number(probability?.data[0]) < 0.05 && Number(probability?.data[1]) > 0.95);
    assert.deepEqual(verdict?.data, ['benign', 'attack']);
    assert.deepEqual(kind?.data, ['', 'port-scan']);
  });

  test('takes null for a value that may be missing and refuses it for one that may not', async () => {
    const [first = [], second = []] = rows();
    assert.equal((await infer([first.map((value, c) => (c === 3 ? null : value)), second])).statusCode, 200);
    const refused = await infer([first.map((value, c) => (c === 0 ? null : value)), second]);
    assert.equal(refused.statusCode, 422);
    assert.equal(refused.json<{ code: string }>().code, 'features.missing-value');
  });

  const wrong: readonly (readonly [string, Record<string, unknown>, string])[] = [
    [
      'another input',
      { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 1], data: [1] }] },
      'server.tensor-invalid',
    ],
    ['no input', { inputs: [] }, 'server.tensor-invalid'],
    [
      'another datatype',
      { inputs: [{ name: 'features', datatype: 'INT8', shape: [1, 1], data: [1] }] },
      'server.tensor-invalid',
    ],
    ['an output nobody has', { outputs: [{ name: 'certainty' }] }, 'server.tensor-invalid'],
    ['inputs that are no list', { inputs: 'x' }, 'server.request-invalid'],
  ];
  for (const [what, extra, code] of wrong) {
    test(`refuses ${what}`, async () => {
      const response = await infer(rows(), extra);
      assert.equal(response.statusCode, 400);
      assert.equal(response.json<{ code: string }>().code, code);
    });
  }

  test('refuses rows of another width, texts, and categories that are no index', async () => {
    const [first = [], second = []] = rows();
    const codeOf = async (data: unknown[]) => (await infer(data)).json<{ code: string }>().code;
    assert.equal(await codeOf([first.slice(1), second]), 'server.tensor-invalid');
    assert.equal(await codeOf([['tcp', ...first.slice(1)], second]), 'server.tensor-invalid');
    assert.equal(await codeOf([[99, ...first.slice(1)], second]), 'features.unknown-category');
    assert.equal(await codeOf([[0.5, ...first.slice(1)], second]), 'features.unknown-category');
  });
});

/** The same two rows in bytes after the JSON. */
function inferBytes(
  fields: Record<string, unknown> = {},
  options: { readonly headers?: Record<string, string>; readonly size?: number } = {},
) {
  const blob = Buffer.from(Float32Array.from(rows().flat()).buffer);
  const parameters = { binary_data_size: options.size ?? blob.length };
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [2, columns], parameters }];
  const json = Buffer.from(JSON.stringify({ inputs, ...fields }));
  return app.inject({
    method: 'POST',
    url: '/v2/models/flow/infer',
    headers: { 'inference-header-content-length': String(json.length), ...options.headers },
    payload: Buffer.concat([json, blob]),
  });
}

suite('binary tensors', () => {
  test('carry the answer of JSON, all of it or a part', async () => {
    const plain = (await infer(rows())).json<{ outputs: { data: (number | string)[] }[] }>();
    const asJson = await inferBytes();
    assert.deepEqual(asJson.json(), plain);
    const all = await inferBytes({ parameters: { binary_data_output: true } });
    assert.equal(all.headers['content-type'], 'application/octet-stream');
    const length = Number(all.headers['inference-header-content-length']);
    const head = JSON.parse(all.rawPayload.toString('utf8', 0, length)) as {
      outputs: { name: string; parameters: { binary_data_size: number } }[];
    };
    const blob = all.rawPayload.subarray(length);
    assert.deepEqual(
      head.outputs.map(({ parameters }) => parameters.binary_data_size),
      [8, 4 + 6 + 4 + 6, 4 + 0 + 4 + 9],
    );
    assert.equal(blob.readFloatLE(4), plain.outputs[0]?.data[1]);
    assert.deepEqual([blob.readUInt32LE(8), blob.toString('utf8', 12, 18)], [6, 'benign']);
    const mixed = await inferBytes({
      parameters: { binary_data_output: true },
      outputs: [{ name: 'kind', parameters: { binary_data: false } }, { name: 'probability' }],
    });
    const mixedLength = Number(mixed.headers['inference-header-content-length']);
    assert.equal(mixed.rawPayload.length, mixedLength + 8);
    const [kind] = (JSON.parse(mixed.rawPayload.toString('utf8', 0, mixedLength)) as { outputs: unknown[] })
      .outputs;
    assert.deepEqual(kind, { name: 'kind', datatype: 'BYTES', shape: [2], data: ['', 'port-scan'] });
  });

  test('are refused where their lengths do not add up', async () => {
    const codeOf = async (answer: ReturnType<typeof inferBytes>) =>
      (await answer).json<{ code: string }>().code;
    for (const length of ['-1', 'x', '999999999', '1e3', '']) {
      const headers = { 'inference-header-content-length': length };
      assert.equal(await codeOf(inferBytes({}, { headers })), 'server.body-malformed', length);
    }
    assert.equal(await codeOf(inferBytes({}, { size: 4 })), 'server.tensor-invalid');
    assert.equal(await codeOf(inferBytes({ inputs: [] })), 'server.tensor-invalid');
  });

  test('of shared memory are refused by name, as what the metadata does not list', async () => {
    const answer = await inferBytes({
      outputs: [{ name: 'kind', parameters: { shared_memory_region: 'x' } }],
    });
    assert.match(answer.json<{ error: string }>().error, /shared_memory_region/);
  });
});

suite('requests of the inference protocol', () => {
  test('hand deadline and priority to the engine, from parameters or headers', async () => {
    const spy = mock.method(house.guardian, 'scoreVectorColumns');
    await infer(rows(), { parameters: { timeout: 1_500, priority: 2 } });
    await inferBytes({}, { headers: { 'guardian-timeout-ms': '20', 'guardian-priority': 'batch' } });
    await inferBytes(
      { parameters: { timeout: 1_000_000, priority: 1 } },
      { headers: { 'guardian-timeout-ms': '20' } },
    );
    const options = spy.mock.calls.map(({ arguments: [, , , given] }) => [
      given?.deadlineMs,
      given?.priority,
    ]);
    assert.deepEqual(options, [
      [1.5, 'batch'],
      [20, 'batch'],
      [1000, 'live'],
    ]);
    spy.mock.restore();
    const bad = await infer(rows(), { parameters: { timeout: 'soon' } });
    assert.equal(bad.json<{ code: string }>().code, 'server.request-invalid');
  });

  test('are withdrawn where their connection goes', async () => {
    const server = await buildServer(house.guardian, { trust: 'api-keys' });
    const made = await app.inject({
      method: 'POST',
      url: '/v1/access',
      payload: { label: 'x', roles: ['viewer'] },
    });
    const { port } = new URL(await server.listen({ host: '127.0.0.1', port: 0 }));
    const aborted = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const spy = mock.method(house.guardian, 'scoreVectorColumns', (...args: unknown[]) => {
      const { signal } = args[3] as { signal: AbortSignal };
      entered.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          aborted.resolve();
          reject(new Error('gone'));
        }),
      );
    });
    const body = JSON.stringify({
      inputs: [{ name: 'features', datatype: 'FP32', shape: [2, columns], data: rows() }],
    });
    const socket = connect(Number(port), '127.0.0.1');
    const head = [
      'POST /v2/models/flow/infer HTTP/1.1',
      `Host: 127.0.0.1:${port}`,
      `Authorization: Bearer ${made.json<{ key: string }>().key}`,
      `Content-Length: ${body.length}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    await entered.promise;
    socket.destroy();
    await aborted.promise;
    spy.mock.restore();
    await server.close();
  });

  test('count in the statistics, by model version and batch size, refused ones as failures', async () => {
    interface Statistics {
      readonly model_stats: readonly {
        readonly inference_count: number;
        readonly execution_count: number;
        readonly inference_stats: Readonly<Record<'success' | 'fail' | 'queue', { count: number }>>;
        readonly batch_stats: readonly { readonly batch_size: number; compute_infer: { count: number } }[];
      }[];
    }
    const read = async (path: string) =>
      (await app.inject(`/v2/models/${path}stats`)).json<Statistics>().model_stats[0];
    const before = await read('flow/');
    await infer(rows());
    await infer([]);
    const after = await read('flow/versions/1.0.0/');
    assert.deepEqual(await read(''), after);
    assert.equal((after?.inference_count ?? 0) - (before?.inference_count ?? 0), 2);
    const { success, fail } = after?.inference_stats ?? {};
    assert.equal((success?.count ?? 0) - (before?.inference_stats.success.count ?? 0), 1);
    assert.equal((fail?.count ?? 0) - (before?.inference_stats.fail.count ?? 0), 1);
    const two = after?.batch_stats.find(({ batch_size }) => batch_size === 2);
    assert.ok((two?.compute_infer.count ?? 0) > 0);
    assert.equal((after?.execution_count ?? 0) - (before?.execution_count ?? 0), 1);
    assert.equal((after?.inference_stats.queue.count ?? 0) - (before?.inference_stats.queue.count ?? 0), 1);
    for (const path of ['none/', 'flow/versions/9.9.9/']) {
      assert.equal((await app.inject(`/v2/models/${path}stats`)).statusCode, 404);
    }
  });
});

suite('the model repository', () => {
  test('puts in place what the registry verifies, and nothing that a caller brings along', async () => {
    const { version } = await house.guardian.registry.publish(flowCandidate(house.schema, 'flow', 0.5), {
      principal: 'tester',
    });
    const post = (what: string, payload?: object) =>
      app.inject({ method: 'POST', url: `/v2/repository/${what}`, ...(payload && { payload }) });
    const indexed = async () =>
      (await post('index', { ready: true })).json<{ version: string; state: string }[]>();
    assert.deepEqual(
      (await indexed()).map((each) => each.version),
      ['1.0.0'],
    );
    assert.equal((await post('models/flow/load', { parameters: { version } })).statusCode, 200);
    assert.deepEqual(
      (await indexed()).map((each) => [each.version, each.state]),
      [[version, 'READY']],
    );
    assert.equal((await post('models/flow/load')).statusCode, 200, 'the champion');
    assert.deepEqual(
      (await indexed()).map((each) => each.version),
      ['1.0.0'],
    );
    for (const [name, value] of [
      ['config', '{}'],
      ['file:1/model.onnx', 'AAAA'],
      ['version', '../x'],
      ['other', 1],
    ] as const) {
      const refused = await post('models/flow/load', { parameters: { [name]: value } });
      assert.equal(refused.statusCode, 400, name);
      assert.match(
        refused.json<{ error: string }>().error,
        new RegExp(name.split('/')[0]?.slice(0, 5) ?? ''),
      );
    }
    assert.equal((await post('models/none/load')).statusCode, 404);
  });

  test('takes a model out of service until an operator puts it back: flows do not', async () => {
    const post = (url: string, payload?: object) =>
      app.inject({ method: 'POST', url, ...(payload && { payload }) });
    assert.equal((await post('/v2/repository/models/flow/unload')).statusCode, 200);
    assert.equal((await app.inject('/v2/health/ready')).statusCode, 503);
    assert.equal((await infer(rows())).statusCode, 404);
    assert.equal(
      (await post('/v1/events', [sentFlow()])).json<{ code: string }>().code,
      'server.model-unknown',
    );
    assert.equal((await post('/v2/repository/models/flow/unload')).statusCode, 404, 'it is gone already');
    assert.equal((await post('/v2/repository/models/flow/load')).statusCode, 200);
    assert.equal((await infer(rows())).statusCode, 200);
  });
});
