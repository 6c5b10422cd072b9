import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { MemoryBus } from '../../src/bus/index.ts';
import { GuardianClient, GuardianClientError } from '../../src/client/index.ts';
import { serverSentEvents } from '../../src/client/server-sent-events.ts';
import { EventWorker } from '../../src/guardian/index.ts';
import { ensureAdminKey, type HttpListening, listenHttp } from '../../src/server/index.ts';
import { SERVER_LIMITS } from '../../src/server/limits.ts';
import { BRISK, until } from '../support/queue-house.ts';
import {
  flowCandidate,
  openServedHouse,
  type ServedHouse,
  sentAttack,
  sentFlow,
} from '../support/served-guardian.ts';

let house: ServedHouse;
let http: HttpListening;
let key: string;
let client: GuardianClient;

before(async () => {
  house = await openServedHouse({ now: Date.now() });
  http = await listenHttp(house.guardian, { host: '127.0.0.1', port: 0 });
  key = readFileSync((await ensureAdminKey(house.guardian)) ?? '', 'utf8').trim();
  client = new GuardianClient({ url: http.url, key: () => key, retries: 0 });
});

after(async () => {
  await http.close();
  await house.close();
});

function attacks(source: string): Record<string, unknown>[] {
  return Array.from({ length: 8 }, (_, i) => sentAttack({ sourceAddress: source, destinationPort: i + 1 }));
}

async function refused(work: Promise<unknown>): Promise<GuardianClientError> {
  return await work.then(
    () => assert.fail('was not refused'),
    (error: unknown) => {
      assert.ok(error instanceof GuardianClientError, String(error));
      return error;
    },
  );
}

suite('the client and a server', () => {
  test('queue flows once under a key, and tell what they came to', async (t) => {
    const bus = new MemoryBus();
    const { guardian } = house;
    await guardian.joinBus(async () => bus.connect());
    const sent = { route: 'gate', idempotencyKey: 'sensor-7:1' };
    const first = await client.queueFlows([sentFlow()], sent);
    assert.deepEqual(await client.queueFlows([sentFlow()], sent), first);
    assert.equal((await client.queuedEvent(first.id)).state, 'waiting');
    const worker = new EventWorker({
      ...{ bus: bus.connect(), engine: guardian.engine, schemaOf: (model) => guardian.schemaOf(model) },
      ...{ id: 'w1', options: BRISK },
    });
    worker.start();
    t.after(() => worker.close());
    await until(async () => (await client.queuedEvent(first.id)).state === 'done');
    const unknown = await refused(client.queuedEvent('0'.repeat(32)));
    assert.equal(unknown.code, 'guardian.event-unknown');
  });

  test('tell the status, the models and any route of the table', async () => {
    const status = await client.status();
    assert.equal(status.audit.size, house.guardian.log.size);
    assert.deepEqual(
      (await client.models()).map(({ name, version }) => `${name} ${version}`),
      ['flow 1.0.0'],
    );
    const { changes } = await client.request('GET /v1/models/:name/history', { path: { name: 'flow' } });
    assert.equal(changes[0]?.action, 'promote');
    assert.match(await client.request('GET /metrics'), /guardian_audit_entries \d/);
    assert.ok((await client.request('GET /tile/*', { path: { '*': '0/000.p/1' } })) instanceof Uint8Array);
  });

  test('score rows as bytes as they do as JSON', async () => {
    const kinds = house.schema.schema.columns.map(({ categories }) => categories !== undefined);
    const columns = kinds.length;
    const values = Float32Array.from({ length: 3 * columns }, (_, i) => (kinds[i % columns] ? 0 : i % 7));
    const binary = await client.infer('flow', values, { rows: 3, priority: 'batch', timeoutMs: 5_000 });
    const json = await client.request('POST /v2/models/:name/infer', {
      path: { name: 'flow' },
      body: { inputs: [{ name: 'features', datatype: 'FP32', shape: [3, columns], data: [...values] }] },
    });
    assert.deepEqual(
      json.outputs.map(({ data }) => data),
      [[...binary.probability], binary.verdict, binary.kind],
    );
    assert.equal(`${binary.model} ${binary.version}`, 'flow 1.0.0');
    assert.equal((await client.infer('flow', values, { rows: 3, version: '1.0.0' })).verdict.length, 3);
    const uneven = await refused(client.infer('flow', values, { rows: 2 * columns + 1 }));
    assert.equal(uneven.code, 'client.request-invalid');
    const unknown = await refused(client.infer('flow', values, { rows: 3, version: '9.0.0' }));
    assert.deepEqual([unknown.status, unknown.code, unknown.retry], [404, 'server.model-unknown', false]);
  });

  test('take flows in by thousands, a source kind at once, and list what was found', async () => {
    function* flows() {
      for (let i = 0; i < 1_100; i++) yield sentFlow({ sourceAddress: '198.51.100.20' });
      yield sentFlow({ sourceKind: 'zeek' });
      yield* attacks('198.51.100.21');
    }
    const sum = await client.sendFlows(flows(), { route: 'thousands' });
    assert.equal(sum.flows, 1_109);
    assert.equal(sum.verdicts.attack, 8);
    const [found] = await client.detections({ source: '198.51.100.21', limit: 5 });
    assert.equal(found?.kind, 'port-scan');
  });

  test('score events by their names', async () => {
    const error = await refused(client.score('flow', [{ nothing: 1 }]));
    assert.equal(error.category, 'validation');
    assert.deepEqual(await client.score('flow', []), []);
  });

  test('promote and roll back', async () => {
    const tester = { principal: 'somebody' };
    const { version } = await house.guardian.registry.publish(
      flowCandidate(house.schema, 'flow', 0.1),
      tester,
    );
    assert.equal((await client.promote('flow', version)).version, version);
    assert.equal((await client.rollback('flow')).version, '1.0.0');
  });

  test('say a refusal with its code, and refuse a path that would be another', async () => {
    const stranger = new GuardianClient({ url: http.url, key: 'agk_wrong' });
    const { status, code, category } = await refused(stranger.status());
    assert.deepEqual([status, code, category], [401, 'server.key-wrong', 'security']);
    const { errors } = await client.request('GET /v1/errors');
    const { timeMs: _, ...last } = errors.at(-1) ?? {};
    assert.deepEqual(last, { code, category, status, route: 'GET /v1/status' });
    for (const name of ['', '.', '..']) {
      const error = await refused(client.request('GET /v1/models/:name', { path: { name } }));
      assert.equal(error.code, 'client.request-invalid');
    }
    const away = new GuardianClient({ url: 'http://127.0.0.1:1' });
    const nobody = await refused(away.status());
    assert.deepEqual([nobody.code, nobody.status, nobody.retry], ['client.unreachable', 0, true]);
  });

  test('abort a call', async () => {
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await assert.rejects(client.status(abort.signal), { message: 'enough' });
  });
});

suite('watching detections', () => {
  test('tells each new state once, and after a break those that came in between', {
    timeout: 30_000,
  }, async (t) => {
    let isDown = false;
    let cut = (): void => {};
    let opened = Promise.withResolvers<void>();
    // Between client and server: one that can break the stream.
    const breakable: typeof fetch = async (input, init) => {
      if (isDown) throw new TypeError('down');
      const response = await fetch(input, init);
      if (!String(input).endsWith('/stream')) return response;
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          cut = () => {
            isDown = true;
            controller.error(new TypeError('cut'));
            void reader.cancel();
          };
        },
        pull: async (controller) => {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
      opened.resolve();
      return new Response(body, { headers: response.headers });
    };
    const abort = new AbortController();
    const watching = new GuardianClient({ url: http.url, key, fetch: breakable });
    // Else it would go on asking after a failure, for ever.
    t.after(() => abort.abort());
    const told: string[] = [];
    const awaited = new Map<string, () => void>();
    const heard = (state: string) =>
      told.includes(state) || new Promise<void>((resolve) => awaited.set(state, resolve));
    const reading = (async () => {
      for await (const { source, activity, revision } of watching.watchDetections({ signal: abort.signal })) {
        const state = `${source.address} ${activity} ${revision}`;
        told.push(state);
        awaited.get(state)?.();
      }
    })();
    await opened.promise;
    await client.sendFlows(attacks('198.51.100.30'), { route: 'watched' });
    await heard('198.51.100.30 create 1');
    cut();
    await client.sendFlows(attacks('198.51.100.31'), { route: 'watched' });
    opened = Promise.withResolvers<void>();
    isDown = false;
    await heard('198.51.100.31 create 1');
    await opened.promise;
    await client.sendFlows(attacks('198.51.100.32'), { route: 'watched' });
    await heard('198.51.100.32 create 1');
    assert.equal(new Set(told).size, told.length, told.join());
    abort.abort();
    await reading;
  });

  test('resumes behind the last event, and says so where that is not known', async () => {
    const abort = new AbortController();
    const open = (lastId: string) =>
      fetch(`${http.url}/v1/detections/stream`, {
        headers: { authorization: `Bearer ${key}`, 'last-event-id': lastId },
        signal: abort.signal,
      });
    const first = await open('');
    assert.equal(first.headers.get('guardian-stream'), 'new');
    await client.sendFlows(attacks('198.51.100.40'), { route: 'resumed' });
    await client.sendFlows(attacks('198.51.100.41'), { route: 'resumed' });
    const events = serverSentEvents(first.body as ReadableStream<Uint8Array>);
    const had = (await events.next()).value;
    const second = await open(had?.id ?? '');
    assert.equal(second.headers.get('guardian-stream'), 'resumed');
    const again = (await serverSentEvents(second.body as ReadableStream<Uint8Array>).next()).value;
    const next = (await events.next()).value;
    assert.deepEqual(again, next, 'the very next event, under its own id');
    for (const unknown of ['0123456789abcdef-0', 'a.1', `${had?.id}0000`]) {
      const gap = await open(unknown);
      assert.equal(gap.headers.get('guardian-stream'), 'gap', unknown);
      const told = (await serverSentEvents(gap.body as ReadableStream<Uint8Array>).next()).value;
      assert.equal(told?.event, 'gap');
    }
    abort.abort();
  });

  test('asks for no list where its stream was resumed', async (t) => {
    const abort = new AbortController();
    t.after(() => abort.abort());
    const asked: string[] = [];
    let streams = 0;
    const watched: typeof fetch = async (input, init) => {
      asked.push(`${new URL(String(input)).pathname} ${new Headers(init?.headers).get('last-event-id')}`);
      const data = (revision: number) =>
        `id: p-${revision}\nevent: detection\ndata: {"uid":"u","revision":${revision},"time":1}\n\n`;
      return new Response(data(++streams), {
        headers: { 'guardian-stream': streams === 1 ? 'new' : 'resumed', date: new Date().toUTCString() },
      });
    };
    const watching = new GuardianClient({ url: 'http://guardian.test', fetch: watched });
    const told = watching.watchDetections({ signal: abort.signal });
    for (const revision of [1, 2]) assert.equal((await told.next()).value?.revision, revision);
    assert.deepEqual(asked, ['/v1/detections/stream null', '/v1/detections/stream p-1']);
  });

  test('lets no caller take every stream', async () => {
    const abort = new AbortController();
    const open = async () => {
      const { status } = await fetch(`${http.url}/v1/detections/stream`, {
        headers: { authorization: `Bearer ${key}` },
        signal: abort.signal,
      });
      return status;
    };
    const statuses: number[] = [];
    for (let i = 0; i <= SERVER_LIMITS.streamsPerCaller; i++) statuses.push(await open());
    abort.abort();
    assert.equal(statuses.at(-1), 503);
  });

  test('says so where the first stream cannot be opened', async () => {
    const stranger = new GuardianClient({ url: http.url, key: 'agk_wrong' });
    assert.equal((await refused(stranger.watchDetections().next())).code, 'server.key-wrong');
  });
});

suite('calling again', () => {
  async function against(
    answers: readonly { readonly status: number; readonly retry: boolean; readonly after?: string }[],
  ): Promise<{ readonly calls: number; readonly error: GuardianClientError | undefined }> {
    let calls = 0;
    const server = createServer((_, response) => {
      const answer = answers[Math.min(calls++, answers.length - 1)];
      const { status, retry, after } = answer as (typeof answers)[number];
      response.writeHead(status, {
        'content-type': 'application/json',
        ...(after && { 'retry-after': after }),
      });
      response.end(
        JSON.stringify({ error: 'says why', code: 'server.x', category: 'resource', retry, models: [] }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const error = await new GuardianClient({ url }).models().then(
      () => undefined,
      (cause: GuardianClientError) => cause,
    );
    server.closeAllConnections();
    server.close();
    return { calls, error };
  }

  test('happens where the code says so, after the time that it says', async () => {
    const busy = { status: 503, retry: true, after: '0' };
    assert.deepEqual(await against([busy, { status: 200, retry: false }]), { calls: 2, error: undefined });
    const { calls, error } = await against([busy]);
    assert.deepEqual([calls, error?.code, error?.retryAfterMs], [3, 'server.x', 0]);
  });

  test('does not happen for another refusal, or a wait that is too long', async () => {
    assert.equal((await against([{ status: 500, retry: false, after: '0' }])).calls, 1);
    const { calls, error } = await against([{ status: 429, retry: true, after: '60' }]);
    assert.deepEqual([calls, error?.retryAfterMs], [1, 60_000]);
  });
});
