import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Clock, LogFields, Logger, Milliseconds } from '../../src/base/index.ts';
import { Api, socketTransport } from '../../src/cli/api.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { type LoadedSchema, loadSchema } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { type HttpListening, listenHttp, listenSocket, ROLES } from '../../src/server/index.ts';
import { flowCandidate, sentAttack } from './served-guardian.ts';

export const ADA = { principal: 'ada' };
/** Two who approve what Ada published. */
export const PEOPLE = [{ principal: 'bob' }, { principal: 'cyd' }];

/** Real time, of which the wall clock alone can be set. */
export class JumpingClock implements Clock {
  #ahead: Milliseconds = 0;
  #passed: Milliseconds = 0;

  now(): Milliseconds {
    return Date.now() + this.#passed + this.#ahead;
  }

  monotonic(): Milliseconds {
    return performance.now() + this.#passed;
  }

  /** As if so much time had passed. */
  pass(by: Milliseconds): void {
    this.#passed += by;
  }

  jump(by: Milliseconds): void {
    this.#ahead += by;
  }
}

/** An answer over HTTP. */
export interface Answer {
  readonly what: 'infer' | 'event' | 'call';
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** Seconds of Retry-After. */
  readonly retryAfter: number | undefined;
}

export interface FaultHouseOptions {
  /** As in `guardian.yaml`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Holds state and configuration; one of its own by default. */
  readonly folder?: string;
}

/** What `guardian serve` is made of, on a port of its own, with a champion `flow` that raises a finding for each `sentAttack`. */
export class FaultHouse {
  readonly folder: string;
  readonly clock = new JumpingClock();
  /** Codes of what the logger was told, in order. */
  readonly told: string[] = [];
  readonly #options: FaultHouseOptions;
  #guardian: Guardian | undefined;
  #schema: LoadedSchema | undefined;
  #http: HttpListening | undefined;
  #key = '';
  readonly #beforeStop: (() => Promise<void>)[] = [];

  private constructor(options: FaultHouseOptions) {
    this.#options = options;
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), 'guardian-fault-'));
  }

  /** Closed with the test, whatever comes of it. */
  static async open(t: TestContext, options: FaultHouseOptions = {}): Promise<FaultHouse> {
    const house = new FaultHouse(options);
    t.after(() => house.close());
    await house.start();
    const { version } = await house.publish();
    await house.promote(version);
    return house;
  }

  get guardian(): Guardian {
    if (this.#guardian === undefined) throw new TypeError('the house is closed');
    return this.#guardian;
  }

  get schema(): LoadedSchema {
    if (this.#schema === undefined) throw new TypeError('the house is closed');
    return this.#schema;
  }

  get url(): string {
    return this.#http?.url ?? '';
  }

  /** As `guardian serve` opens: a champion that cannot be put in place is told and left out. */
  async start(): Promise<void> {
    const { config = {} } = this.#options;
    this.#schema = await loadSchema('flow-core');
    mkdirSync(this.folder, { recursive: true });
    const guardian = await openGuardian({
      stateFolder: join(this.folder, 'state'),
      configFolder: join(this.folder, 'config'),
      config: configurationSchema.parse({
        alerts: { minFlows: { 'port-scan': 1 } },
        server: {
          rateLimit: {
            addressPerSecond: 10_000,
            addressBurst: 10_000,
            principalPerSecond: 10_000,
            principalBurst: 10_000,
          },
        },
        ...config,
      }),
      clock: this.clock,
      logger: this.#logger(),
    });
    this.#guardian = guardian;
    for (const { name, aliases } of await guardian.registry.list()) {
      if (!aliases.includes('champion')) continue;
      await guardian.load(`${name}@champion`).catch((error: unknown) => this.told.push(codeOf(error)));
    }
    await guardian.notices.start();
    const socket = await listenSocket(guardian);
    const api = new Api(socketTransport(socket.path));
    const { key } = (await api.call('POST', '/v1/access', { label: 'load', roles: [...ROLES], days: 1 })) as {
      key: string;
    };
    await socket.close();
    this.#key = key;
    this.#http = await listenHttp(guardian, { host: '127.0.0.1', port: 0 });
  }

  /** Called before the server stops. */
  beforeStop(work: () => Promise<void>): void {
    this.#beforeStop.push(work);
  }

  async stop(): Promise<void> {
    for (const work of this.#beforeStop.splice(0)) await work();
    await this.#http?.close();
    await this.#guardian?.close();
    this.#http = undefined;
    this.#guardian = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    await this.stop();
    if (this.#options.folder === undefined) rmSync(this.folder, { recursive: true, force: true });
  }

  async publish(bias = 0): Promise<{ readonly version: string }> {
    return await this.guardian.registry.publish(flowCandidate(this.schema, 'flow', bias), ADA);
  }

  /** With as many approvals as are asked of anybody. */
  async promote(version: string): Promise<void> {
    if (this.guardian.keys.kind === 'pkcs11')
      for (const who of PEOPLE) await this.guardian.registry.approve('flow', version, who);
    await this.guardian.promote('flow', version, 'champion', ADA);
  }

  async call(method: string, path: string, body?: unknown, what: Answer['what'] = 'call'): Promise<Answer> {
    const response = await fetch(`${this.#http?.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const after = response.headers.get('retry-after');
    return {
      what,
      status: response.status,
      body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text },
      retryAfter: after === null ? undefined : Number(after),
    };
  }

  /** Takes the uids of findings into a set as the stream of events tells them, until the signal. */
  async follow(path: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const response = await fetch(`${this.url}${path}`, {
      headers: { authorization: `Bearer ${this.#key}` },
      signal,
    });
    if (response.status !== 200) throw new TypeError(`answered ${response.status}: ${await response.text()}`);
    const seen = new Set<string>();
    const read = async () => {
      for await (const uid of uidsOf(response.body as unknown as AsyncIterable<Uint8Array>)) seen.add(uid);
    };
    // Ends with the signal, or with the server; what was seen until then counts.
    read().catch(() => {});
    return seen;
  }

  /** Scores `rows` rows of zeros. */
  infer(rows = 1, model = 'flow'): Promise<Answer> {
    const columns = this.schema.schema.columns.length;
    const data = new Array<number>(rows * columns).fill(0);
    const inputs = [{ name: 'features', datatype: 'FP32', shape: [rows, columns], data }];
    return this.call('POST', `/v2/models/${model}/infer`, { inputs }, 'infer');
  }

  /** One flow that is a finding by itself. */
  event(source: string): Promise<Answer> {
    return this.call('POST', '/v1/events', [sentAttack({ sourceAddress: source })], 'event');
  }

  promoteOverHttp(version: string): Promise<Answer> {
    return this.call('POST', '/v1/models/flow/promote', { version, alias: 'champion' });
  }

  /** What of the dependencies the status says is away, and readiness. */
  async away(): Promise<readonly string[]> {
    const { status, body } = await this.call('GET', '/v2/health/ready');
    if (status !== 200) throw new TypeError(`not ready: ${JSON.stringify(body)}`);
    return (body.degraded ?? []) as readonly string[];
  }

  /** A metric without labels. */
  async metric(name: string): Promise<number> {
    const { body } = await this.call('GET', '/metrics');
    const found = new RegExp(`^guardian_${name} (\\S+)$`, 'm').exec(String(body.text));
    return Number(found?.[1] ?? Number.NaN);
  }

  /** Entries of the log from an index on, as `action result reason`. */
  async entries(from: number): Promise<readonly string[]> {
    const found: string[] = [];
    for await (const { entry } of this.guardian.log.entries(from)) {
      found.push([entry.action, entry.result ?? entry.kind, entry.reason].filter(Boolean).join(' '));
    }
    return found;
  }

  #logger(): Logger {
    const tell = (fields: LogFields, says?: string) => {
      this.told.push(String((fields as { code?: unknown }).code ?? says));
    };
    return { debug: tell, info: tell, warn: tell, error: tell } as unknown as Logger;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

async function* uidsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    const lines = (text + decoder.decode(chunk, { stream: true })).split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('data: {"v"'))
        yield (JSON.parse(line.slice('data: '.length)) as { uid: string }).uid;
    }
  }
}
