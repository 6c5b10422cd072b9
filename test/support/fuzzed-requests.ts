import type { SeededRandom } from '../../src/base/index.ts';

/** One request to be sent, and whether nothing about it was changed. */
export interface FuzzedRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload?: Buffer;
  readonly isWhole: boolean;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const ODD: readonly (() => Json)[] = [
  ...[null, true, false, 0, -0, -1, 1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, 5e-324, 1e39, ''].map(
    (value) => () => value,
  ),
  ...[
    'features',
    'FP32',
    'INT8',
    'BYTES',
    'probability',
    'champion',
    '__proto__',
    '\u0000',
    '\ud800',
    '../..',
  ].map((value) => () => value),
  () => [],
  () => ({}),
  () => [[]],
  () => ({ constructor: { prototype: {} } }),
  () => 'x'.repeat(300),
  () => Array.from({ length: 200 }, () => 0),
  () => [1, [2, [3, [4, [5, []]]]]],
];
const NAMES = [
  ...['id', 'inputs', 'outputs', 'parameters', 'data', 'shape', 'name', 'datatype', 'binary_data_size'],
  ...[
    'binary_data',
    'binary_data_output',
    'timeout',
    'priority',
    'shared_memory_region',
    '__proto__',
    'toString',
  ],
];
const PATHS = [
  ...['/v2', '/v2/', '/v2/health/live', '/v2/health/ready', '/v2/models/flow', '/v2/models/flow/ready'],
  ...['/v2/models/flow/versions/1.0.0', '/v2/models/flow/versions/1.0.0/ready', '/v2/models/stats'],
  ...['/v2/models/flow/stats', '/v2/models/flow/versions/1.0.0/stats/', '/v2/repository/index'],
  ...['/v2/repository/models/flow/load', '/v2/repository/models/none/unload', '/v2/models/%2e%2e/infer'],
  ...[
    '/v2/models/none/infer',
    '/v2/models/%00/infer',
    '/v2/models//infer',
    '/v2/models/flow/versions//infer',
  ],
];
const LENGTHS = ['', '0', '1', '-1', '1e3', '0x10', ' 5', '999999999', '99999999999999999999', 'NaN', '4.5'];

/** Makes requests that are nearly right: one that is, and then up to three things wrong with it. */
export class RequestFuzzer {
  readonly #random: SeededRandom;
  readonly #columns: number;

  constructor(random: SeededRandom, columns: number) {
    this.#random = random;
    this.#columns = columns;
  }

  next(): FuzzedRequest {
    const kind = this.#below(20);
    if (kind === 0) return this.#elsewhere();
    if (kind === 1) return this.#repository();
    return this.#infer();
  }

  /** Bytes with some changed, added or cut off. */
  damage(bytes: Buffer): Buffer {
    if (bytes.length === 0) return Buffer.of(this.#below(256));
    const at = this.#below(bytes.length);
    switch (this.#below(5)) {
      case 0:
        return bytes.subarray(0, at);
      case 1:
        return Buffer.concat([bytes.subarray(0, at), Buffer.of(this.#below(256)), bytes.subarray(at)]);
      case 2:
        return Buffer.concat([bytes, bytes.subarray(at)]);
      case 3:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from('['.repeat(1 + this.#below(5_000)))]);
      default: {
        const copy = Buffer.from(bytes);
        for (let n = 0; n <= this.#below(4); n++) copy[this.#below(copy.length)] = this.#below(256);
        return copy;
      }
    }
  }

  /** A value with something in it replaced, removed, added or doubled. */
  mutate(value: Json): Json {
    const isDeeper = typeof value === 'object' && value !== null && this.#below(5) > 0;
    if (!isDeeper) return this.#odd();
    if (Array.isArray(value)) return this.#mutateList(value);
    const names = Object.keys(value);
    const name = names[this.#below(Math.max(1, names.length))];
    const choice = this.#below(6);
    if (choice === 0 || name === undefined) return { ...value, [this.#pick(NAMES)]: this.#odd() };
    if (choice === 1) return Object.fromEntries(Object.entries(value).filter(([each]) => each !== name));
    return { ...value, [name]: this.mutate(value[name] as Json) };
  }

  #mutateList(list: Json[]): Json {
    const copy = [...list];
    const at = this.#below(Math.max(1, copy.length));
    const choice = this.#below(6);
    if (choice === 0) copy.splice(at, 1);
    else if (choice === 1) copy.splice(at, 0, this.#odd());
    else if (choice === 2 && copy.length > 0) copy.push(copy[at] as Json);
    else if (copy.length > 0) copy[at] = this.mutate(copy[at] as Json);
    return copy;
  }

  #infer(): FuzzedRequest {
    const rows = this.#pick([0, 1, 1, 1, 2, 3, 7]);
    const isBinary = this.#below(3) === 0;
    const changes = this.#below(4);
    const blob = isBinary ? Buffer.alloc(rows * this.#columns * 4) : Buffer.alloc(0);
    let body: Json = this.#inferBody(rows, isBinary ? blob.length : undefined);
    const headers: Record<string, string> = {
      'content-type': isBinary ? 'application/octet-stream' : 'application/json',
    };
    let url = this.#pick([
      '/v2/models/flow/infer',
      '/v2/models/flow/infer/',
      '/v2/models/flow/versions/1.0.0/infer',
    ]);
    let damageBytes = 0;
    let length: string | undefined;
    for (let n = 0; n < changes; n++) {
      const choice = this.#below(12);
      if (choice < 7) body = this.mutate(body);
      else if (choice === 7) damageBytes++;
      else if (choice === 8) length = this.#pick(LENGTHS);
      else if (choice === 9) blob.fill(this.#below(256));
      else if (choice === 10)
        headers[this.#pick(['guardian-timeout-ms', 'guardian-priority'])] = this.#pick([
          '1',
          '-1',
          'x',
          'batch',
          '',
        ]);
      else if (this.#below(4) === 0)
        headers['content-type'] = this.#pick(['text/plain', '', 'application/json; charset=latin1']);
      else url = url.replace('flow', this.#pick(['none', 'flow%20', '%ff', 'FLOW', 'flow/versions/9']));
    }
    const json = Buffer.from(JSON.stringify(body));
    if (isBinary) length ??= String(json.length);
    if (length !== undefined) headers['inference-header-content-length'] = length;
    let payload: Buffer = Buffer.concat([json, blob]);
    for (let n = 0; n < damageBytes; n++) payload = this.damage(payload);
    return { method: 'POST', url, headers, payload, isWhole: changes === 0 };
  }

  #inferBody(rows: number, binarySize: number | undefined): Json {
    const row = () => Array.from({ length: this.#columns }, () => 0);
    const nested = Array.from({ length: rows }, row);
    const data = this.#below(2) === 0 ? nested : nested.flat();
    const input: Json = {
      ...{ name: 'features', datatype: 'FP32', shape: [rows, this.#columns] },
      ...(binarySize === undefined ? { data } : { parameters: { binary_data_size: binarySize } }),
    };
    const output: Json = {
      name: this.#pick(['probability', 'verdict', 'kind']),
      parameters: { binary_data: this.#below(2) === 0 },
    };
    return {
      inputs: [input],
      ...(this.#below(2) === 0 && { id: 'fuzz' }),
      ...(this.#below(2) === 0 && {
        parameters: { binary_data_output: this.#below(2) === 0, priority: this.#below(4) },
      }),
      ...(this.#below(3) === 0 && { outputs: [output] }),
    };
  }

  #repository(): FuzzedRequest {
    const [url, body] = this.#pick<[string, Json]>([
      ['/v2/repository/index', { ready: true }],
      ['/v2/repository/models/flow/load', { parameters: { config: '{}', 'file:1/model.onnx': 'AAAA' } }],
      ['/v2/repository/models/none/load', { parameters: { version: '1.0.0' } }],
      ['/v2/repository/models/none/unload', { parameters: { unload_dependents: true } }],
    ]);
    let payload = Buffer.from(JSON.stringify(this.mutate(body)));
    // What is left of a good load of the model would write two entries into the log each time.
    if (url.includes('flow') && !payload.includes('config') && !payload.includes('file:'))
      payload = Buffer.from('[]');
    return { method: 'POST', url, headers: { 'content-type': 'application/json' }, payload, isWhole: false };
  }

  #elsewhere(): FuzzedRequest {
    const url = this.#pick(PATHS);
    const method = url.endsWith('load') ? 'GET' : this.#pick(['GET', 'POST', 'PUT', 'DELETE'] as const);
    return { method, url, headers: {}, isWhole: false };
  }

  #odd(): Json {
    return this.#pick(ODD)();
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }

  #below(n: number): number {
    return Math.floor(this.#random.next() * n);
  }
}
