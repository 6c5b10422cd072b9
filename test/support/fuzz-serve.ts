import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { SeededRandom } from '../../src/base/index.ts';
import { loadServiceDefinition } from '../../src/server/grpc/service-definition.ts';
import { buildServer, listenHttp, type Role } from '../../src/server/index.ts';
import { type FuzzedRequest, type Json, RequestFuzzer } from './fuzzed-requests.ts';
import { GrpcClient } from './grpc-client.ts';
import { openServedHouse } from './served-guardian.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Within the process, over sockets, and over gRPC. */
  readonly injected: number;
  readonly overSockets: number;
  readonly overGrpc: number;
  readonly onProgress?: (sent: number) => void;
}

export interface FuzzResult {
  readonly sent: number;
  /** Answers by status of HTTP, and of gRPC as `grpc 3`. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Refusals by code. */
  readonly codes: Readonly<Record<string, number>>;
  /** Connections that were closed without an answer, which a broken request may be. */
  readonly closed: number;
  readonly heapBeforeMiB: number;
  readonly heapAfterMiB: number;
}

const WIDE_RATES = { principalPerSecond: 1e6, principalBurst: 1e6, addressPerSecond: 1e6, addressBurst: 1e6 };
const mib = (bytes: number) => Math.round(bytes / 2 ** 20);

/**
 * Sends nearly right requests to a server in this process. Throws at the first answer that is not planned: a failure without
 * a name, a refusal without a code, a whole request that is refused, or a server that no longer answers.
 */
export async function fuzzServe(options: FuzzOptions): Promise<FuzzResult> {
  const house = await openServedHouse({ config: { server: { rateLimit: WIDE_RATES } } });
  const columns = house.schema.schema.columns.length;
  const fuzzer = new RequestFuzzer(new SeededRandom(options.seed), columns);
  const local = await buildServer(house.guardian, { trust: 'local' });
  const key = await local
    .inject({
      method: 'POST',
      url: '/v1/access',
      payload: { label: 'fuzz', roles: ['operator'] satisfies Role[] },
    })
    .then((made) => made.json<{ key: string }>().key);
  const http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0, grpcPort: 0 });
  const tally = new Tally();
  let heapBefore = 0;
  try {
    for (let i = 0; i < options.injected; i++) {
      const request = fuzzer.next();
      const { method, url, headers, payload } = request;
      const response = await local.inject({ method, url, headers, ...(payload && { payload }) });
      tally.http(request, response.statusCode, response.rawPayload);
      // The code is warm by then, and every table has its size.
      if (i === Math.floor(options.injected / 10)) heapBefore = heapNow();
      if (i % 50_000 === 49_999) options.onProgress?.(i + 1);
    }
    for (let i = 0; i < options.overSockets; i++) {
      const request = fuzzer.next();
      const answer = await sendRaw(
        new URL(http.url),
        key,
        request,
        i % 7 === 0 ? (bytes) => fuzzer.damage(bytes) : undefined,
      );
      if (answer === undefined) tally.closed++;
      else if (i % 7 === 0) tally.http({ ...request, isWhole: false }, answer.status, answer.body);
      else tally.http(request, answer.status, answer.body);
    }
    await fuzzGrpc(http.grpc ?? '', { key, columns, fuzzer, tally, calls: options.overGrpc });
    const last = await local.inject('/v2/health/ready');
    assert.equal(last.statusCode, 200, 'the server is as ready as before');
  } finally {
    await http.close();
    await local.close();
    await house.close();
  }
  const heapAfter = heapNow();
  return { ...tally.read(), heapBeforeMiB: mib(heapBefore), heapAfterMiB: mib(heapAfter) };
}

class Tally {
  closed = 0;
  #sent = 0;
  readonly #statuses = new Map<string, number>();
  readonly #codes = new Map<string, number>();

  http(request: FuzzedRequest, status: number, body: Buffer): void {
    const shown = `${request.method} ${request.url} ${JSON.stringify(request.headers)} ${request.payload?.subarray(0, 2_000)}`;
    this.#count(String(status));
    if (status < 400) {
      if (request.isWhole) assert.ok(body.includes('"model_name":"flow"'), shown);
      return;
    }
    assert.ok(body.length > 0, `${status} without a word: ${shown}`);
    const { error, code } = JSON.parse(body.toString()) as { error?: unknown; code?: unknown };
    assert.ok(typeof error === 'string' && error !== '', `${status}: ${shown}`);
    assert.ok(typeof code === 'string' && code !== 'server.internal', `${code}: ${shown}`);
    // A machine that is short of something may send batch work away.
    const isPlanned = !request.isWhole || code === 'inference.overloaded';
    assert.ok(isPlanned, `a whole request was refused with ${code}: ${shown}`);
    assert.ok(status < 500 || status === 503, `${status} ${code}: ${shown}`);
    this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
  }

  grpc(status: number, code: string | undefined, shown: string): void {
    this.#count(`grpc ${status}`);
    // Unknown, internal and data loss are never the caller's doing.
    assert.ok(![2, 13, 15].includes(status), `${status} ${code}: ${shown}`);
    if (code !== undefined) this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
  }

  read() {
    const sorted = (counts: ReadonlyMap<string, number>) =>
      Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
    return {
      sent: this.#sent,
      statuses: sorted(this.#statuses),
      codes: sorted(this.#codes),
      closed: this.closed,
    };
  }

  #count(status: string): void {
    this.#sent++;
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }
}

/** Over a connection of its own; undefined where it is closed without an answer. */
async function sendRaw(
  { hostname, port }: URL,
  key: string,
  request: FuzzedRequest,
  damage?: (bytes: Buffer) => Buffer,
): Promise<{ readonly status: number; readonly body: Buffer } | undefined> {
  const { method, url, headers, payload = Buffer.alloc(0) } = request;
  const lines = [
    `${method} ${url} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    `Authorization: Bearer ${key}`,
    'Connection: close',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${payload.length}`,
  ];
  const whole = Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), payload]);
  const socket = connect(Number(port), hostname);
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', () => undefined);
  // Half closed: a request that was cut short is not waited for.
  socket.end(damage?.(whole) ?? whole);
  await once(socket, 'close');
  const answer = Buffer.concat(parts);
  const head = /^HTTP\/1\.1 (\d{3})/.exec(answer.toString('latin1', 0, 16));
  const end = answer.indexOf('\r\n\r\n');
  if (head === null || end < 0) return undefined;
  // A body that is damaged into a second request gets a second answer: the first is looked at.
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(answer.toString('latin1', 0, end))?.[1] ?? 0);
  // Closed with bytes of ours unread, the rest of an answer may be lost on the way.
  if (answer.length < end + 4 + length) return undefined;
  return { status: Number(head[1]), body: answer.subarray(end + 4, end + 4 + length) };
}

async function fuzzGrpc(
  target: string,
  parts: {
    readonly key: string;
    readonly columns: number;
    readonly fuzzer: RequestFuzzer;
    readonly tally: Tally;
    readonly calls: number;
  },
): Promise<void> {
  const { key, columns, fuzzer, tally, calls } = parts;
  const client = new GrpcClient(target);
  const serialize = loadServiceDefinition().ModelInfer?.requestSerialize as (value: unknown) => Buffer;
  for (let i = 0; i < calls; i++) {
    const rows = i % 4;
    const isRaw = i % 2 === 0;
    const count = rows * columns;
    const tensor: Json = { name: 'features', datatype: 'FP32', shape: [rows, columns] };
    const message: Json = {
      ...{ model_name: 'flow', id: 'fuzz' },
      inputs: [
        isRaw ? tensor : { ...tensor, contents: { fp32_contents: Array.from({ length: count }, () => 0) } },
      ],
    };
    let bytes: Buffer;
    try {
      const changed = i % 3 === 0 ? message : fuzzer.mutate(message);
      const raw = isRaw ? { raw_input_contents: [Buffer.alloc(count * 4)] } : {};
      bytes = serialize({ ...(changed as object), ...raw });
    } catch {
      // Not even the client can write that.
      bytes = serialize(message);
    }
    if (i % 5 === 4) bytes = fuzzer.damage(bytes);
    const { status, code, says } = await client.callBytes('ModelInfer', bytes, key);
    tally.grpc(status, code, `${says} ${bytes.toString('base64').slice(0, 2_000)}`);
  }
  client.close();
}

function heapNow(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
