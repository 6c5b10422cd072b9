import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { Ajv } from 'ajv';
import type { FastifyInstance } from 'fastify';
import { parse } from 'yaml';
import { buildServer } from '../../src/server/index.ts';
import { requireData } from '../support/requires.ts';
import { openServedHouse, type ServedHouse } from '../support/served-guardian.ts';

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
