import { clientError, GuardianClientError, refusalOf } from './errors.ts';
import { type LooseRequest, prepareRequest, type RequestArguments } from './request.ts';
import type { RouteKey, Routes } from './route-types.ts';
import { decodeRows, encodeRows, type InferredRows, JSON_LENGTH } from './tensors.ts';
import { type ClientDetection, watchDetections } from './watch-detections.ts';

export interface GuardianClientOptions {
  /** Of the server: `https://guardian.example:8411`. */
  readonly url: string;
  /** An API key or a token; a function is asked before each call. */
  readonly key?: string | (() => string | Promise<string>);
  /** Times that a call is made again where the refusal says that it may succeed later. */
  readonly retries?: number;
  /** A refusal that asks for a longer wait is thrown at once. Milliseconds. */
  readonly longestWaitMs?: number;
  readonly fetch?: typeof fetch;
}

const DEFAULTS = { retries: 2, longestWaitMs: 30_000 };
/** Where a refusal says that a call may succeed later and not when. */
const WAIT_MS = 1_000;
/** What the server takes in one request, and what keeps a request small. */
const EVENTS_AT_ONCE = 1_000;

interface Verdicts {
  flows: number;
  readonly verdicts: { attack: number; benign: number; abstain: number };
}

/** The routes of a guardian, for Node and the browser. Every failure is a `GuardianClientError` or an abort. */
export class GuardianClient {
  readonly #options: GuardianClientOptions;
  readonly #base: string;

  constructor(options: GuardianClientOptions) {
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, '');
  }

  /** Calls any route of the OpenAPI document; its JSON, or text or bytes where it has none. */
  async request<K extends RouteKey>(key: K, ...[request]: RequestArguments<K>): Promise<Routes[K]['answer']> {
    const response = await this.#send(key, request ?? {});
    return (await answerOf(response)) as Routes[K]['answer'];
  }

  status(signal?: AbortSignal): Promise<Routes['GET /v1/status']['answer']> {
    return this.request('GET /v1/status', { ...(signal && { signal }) });
  }

  /** Scores events given as named features. */
  async score(
    name: string,
    events: Routes['POST /v1/score/:name']['body']['events'],
    signal?: AbortSignal,
  ): Promise<Routes['POST /v1/score/:name']['answer']['scores']> {
    const request = { path: { name }, body: { events }, ...(signal && { signal }) };
    return (await this.request('POST /v1/score/:name', request)).scores;
  }

  /** Scores feature vectors, sent and answered as bytes: row-major `rows` x columns, NaN where a value is missing. */
  async infer(
    name: string,
    values: Float32Array,
    options: {
      readonly rows: number;
      readonly version?: string;
      readonly priority?: 'live' | 'batch';
      readonly timeoutMs?: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<InferredRows> {
    const { rows, version, priority, timeoutMs, signal } = options;
    const { body, jsonLength } = encodeRows(values, rows);
    const headers = {
      [JSON_LENGTH]: jsonLength,
      ...(priority !== undefined && { 'guardian-priority': priority }),
      ...(timeoutMs !== undefined && { 'guardian-timeout-ms': timeoutMs }),
    };
    const response =
      version === undefined
        ? await this.#send('POST /v2/models/:name/infer', { path: { name }, headers, body, signal })
        : await this.#send('POST /v2/models/:name/versions/:version/infer', {
            ...{ path: { name, version }, headers, body, signal },
          });
    const answered = Number(response.headers.get(JSON_LENGTH) ?? Number.NaN);
    return decodeRows(await bytesOf(response), answered);
  }

  /**
   * Sends flows as NDJSON, so many a request and of one source kind in each, one request after the other; what a
   * request that failed held is not sent again. The sums of all answers.
   */
  async sendFlows(
    flows: Iterable<object> | AsyncIterable<object>,
    options: { readonly route?: string; readonly model?: string; readonly signal?: AbortSignal } = {},
  ): Promise<Readonly<Verdicts>> {
    const { signal, ...query } = options;
    const sum: Verdicts = { flows: 0, verdicts: { attack: 0, benign: 0, abstain: 0 } };
    let lines: string[] = [];
    let kind: unknown;
    const send = async () => {
      if (lines.length === 0) return;
      const body = lines.join('\n');
      lines = [];
      const answer = await this.request('POST /v1/events', { query, body, ...(signal && { signal }) });
      sum.flows += answer.flows;
      for (const each of ['attack', 'benign', 'abstain'] as const)
        sum.verdicts[each] += answer.verdicts[each];
    };
    for await (const flow of flows) {
      const { sourceKind } = flow as { readonly sourceKind?: unknown };
      if (sourceKind !== kind || lines.length === EVENTS_AT_ONCE) await send();
      kind = sourceKind;
      lines.push(JSON.stringify(flow));
    }
    await send();
    return sum;
  }

  /**
   * Queues flows for the workers as one event, known by its id when this resolves. Under an idempotency key of their own
   * the same flows can be sent again where no answer came, and count once.
   */
  queueFlows(
    flows: readonly object[],
    options: {
      readonly route?: string;
      readonly model?: string;
      readonly idempotencyKey?: string;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Routes['POST /v1/events/queue']['answer']> {
    const { signal, idempotencyKey, ...query } = options;
    const body = flows.map((flow) => JSON.stringify(flow)).join('\n');
    const headers = { ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }) };
    return this.request('POST /v1/events/queue', { query, headers, body, ...(signal && { signal }) });
  }

  /** What a queued event came to, or that it waits. */
  queuedEvent(id: string, signal?: AbortSignal): Promise<Routes['GET /v1/events/:id']['answer']> {
    return this.request('GET /v1/events/:id', { path: { id }, ...(signal && { signal }) });
  }

  /** Newest first. */
  async detections(
    query: Omit<NonNullable<Routes['GET /v1/detections']['query']>, 'format'> = {},
    signal?: AbortSignal,
  ): Promise<readonly ClientDetection[]> {
    const { detections } = await this.request('GET /v1/detections', { query, ...(signal && { signal }) });
    return detections as readonly unknown[] as readonly ClientDetection[];
  }

  /**
   * New states of detections as they come, until the signal aborts or the loop ends. Where the stream breaks it is
   * opened again, and what came in between is told by it, or from the list where that was too long ago: no state twice,
   * none older than one that was told.
   */
  watchDetections(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<ClientDetection, void> {
    const { signal } = options;
    return watchDetections({
      open: (lastId) =>
        this.#send('GET /v1/detections/stream', { signal, headers: { 'last-event-id': lastId } }),
      list: (since) => this.detections({ since, limit: 1_000 }, signal),
      wait: (ms) => pause(ms, signal),
      signal,
    });
  }

  async models(signal?: AbortSignal): Promise<Routes['GET /v1/models']['answer']['models']> {
    return (await this.request('GET /v1/models', { ...(signal && { signal }) })).models;
  }

  promote(
    name: string,
    version: string,
    alias = 'champion',
  ): Promise<Routes['POST /v1/models/:name/promote']['answer']> {
    return this.request('POST /v1/models/:name/promote', { path: { name }, body: { version, alias } });
  }

  rollback(name: string, alias = 'champion'): Promise<Routes['POST /v1/models/:name/rollback']['answer']> {
    return this.request('POST /v1/models/:name/rollback', { path: { name }, body: { alias } });
  }

  async #send(key: RouteKey, request: LooseRequest): Promise<Response> {
    const { retries = DEFAULTS.retries, longestWaitMs = DEFAULTS.longestWaitMs } = this.#options;
    for (let again = 0; ; again++) {
      const response = await this.#fetch(key, request);
      if (response.ok) return response;
      const error = await refusalOf(response);
      const waitMs = error.retryAfterMs ?? WAIT_MS;
      if (!error.retry || again >= retries || waitMs > longestWaitMs) throw error;
      await pause(waitMs, request.signal);
    }
  }

  async #fetch(key: RouteKey, request: LooseRequest): Promise<Response> {
    const { method, url, headers, body } = prepareRequest(this.#base, key, request);
    const given = this.#options.key;
    const secret = typeof given === 'function' ? await given() : given;
    if (secret !== undefined) headers.authorization = `Bearer ${secret}`;
    try {
      return await (this.#options.fetch ?? fetch)(url, {
        ...{ method, headers, redirect: 'error', credentials: 'omit' },
        ...(body !== undefined && { body }),
        ...(request.signal && { signal: request.signal }),
      });
    } catch (cause) {
      if (request.signal?.aborted) throw request.signal.reason;
      throw clientError('client.unreachable', `nobody answered ${method} ${url.split('?')[0]}`, { cause });
    }
  }
}

async function answerOf(response: Response): Promise<unknown> {
  const type = response.headers.get('content-type') ?? '';
  try {
    if (type.startsWith('application/json')) return await response.json();
    return type.startsWith('text/') ? await response.text() : new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw unreadable(cause, response.status);
  }
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw unreadable(cause, response.status);
  }
}

/** An abort stays one. */
function unreadable(cause: unknown, status: number): unknown {
  if (cause instanceof SyntaxError) {
    return clientError('client.answer-malformed', 'the answer is not JSON', { status, cause });
  }
  if (cause instanceof GuardianClientError || (cause as Error)?.name === 'AbortError') return cause;
  return clientError('client.unreachable', 'the connection broke within the answer', { status, cause });
}

/** Rejects with the reason of the signal. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
