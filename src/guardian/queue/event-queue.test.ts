import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import {
  countedFlows,
  flowsOf,
  openQueueOwner,
  type QueueOwner,
  queueWorker,
  SUBMITTER,
  until,
} from '../../../test/support/queue-house.ts';
import { Metrics, SeededRandom } from '../../base/index.ts';
import { type Bus, BusError, MemoryBus } from '../../bus/index.ts';
import { createPolicy, Guardrails, responseConfigSchema } from '../../response/index.ts';
import { type Database, StorageError } from '../../storage/index.ts';
import { FLOW_NUMBER_INDEX, FlowBatch } from '../../traffic/index.ts';
import { newEventId } from './event-id.ts';
import { encodeEvent, encodeResult, RESULTS_TOPIC } from './messages.ts';

async function openOwner(
  t: TestContext,
  bus: MemoryBus,
  options: Parameters<typeof openQueueOwner>[2] = {},
): Promise<QueueOwner> {
  const folder = mkdtempSync(join(tmpdir(), 'queue-'));
  const owner = await openQueueOwner(folder, async () => bus.connect(), options);
  t.after(async () => {
    await owner.close();
    rmSync(folder, { recursive: true });
  });
  return owner;
}

async function openWorker(t: TestContext, ...given: Parameters<typeof queueWorker>) {
  const worker = await queueWorker(...given);
  t.after(() => worker.close());
  return worker;
}

const isStored = async ({ queue }: QueueOwner, id: string) => (await queue.find(id))?.state !== 'waiting';
const counted = async ({ metrics }: QueueOwner, name: string) =>
  Number(new RegExp(`^guardian_${name} (\\d+)$`, 'm').exec(await metrics.text())?.[1] ?? 0);

suite('the queue of events', () => {
  test('gives an event its one result, with the findings it raised', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus);
    await openWorker(t, bus.connect(), 'w1');
    const { id, state } = await owner.queue.submit(flowsOf(3, 2), { stream: 'gate', ...SUBMITTER });
    assert.equal(state, 'waiting');
    await until(() => isStored(owner, id));
    const event = await owner.queue.find(id);
    const [detection] = await owner.store.list();
    assert.deepEqual(
      { ...event, storedAt: '' },
      {
        ...{ id, state: 'done', storedAt: '', route: 'gate', worker: 'w1', flows: 5, rejects: {} },
        verdicts: { attack: 3, benign: 2, abstain: 0 },
        // A certificate that a worker calls active permits nothing here.
        decisions: { vetoed: 3 },
        model: { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
        detections: [detection?.uid],
      },
    );
    assert.deepEqual([detection?.flows, detection?.certificate], [3, 'suspended']);
  });

  test('takes events of one caller and key for one event', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus);
    const options = { stream: 'gate', ...SUBMITTER, idempotencyKey: 'k1' };
    const sent = await Promise.all([1, 2, 3].map(() => owner.queue.submit(flowsOf(1), options)));
    const other = await owner.queue.submit(flowsOf(1), { ...options, principal: 'another' });
    assert.equal(new Set(sent.map(({ id }) => id)).size, 1);
    await openWorker(t, bus.connect(), 'w1');
    const [{ id } = other] = sent;
    await until(async () => (await isStored(owner, id)) && (await isStored(owner, other.id)));
    assert.equal((await owner.queue.submit(flowsOf(1), options)).state, 'done');
    assert.equal(await owner.db.eventResults.count(), 2);
    assert.equal(await countedFlows(owner), 2);
  });

  test('takes events under a key while the database is away', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus, {
      wrap: (db) => {
        const find = () => Promise.reject(new StorageError('storage.database-unreachable', 'gone'));
        return { ...db, eventResults: overridden(db.eventResults, { find }), close: () => db.close() };
      },
    });
    const event = await owner.queue.submit(flowsOf(1), { stream: 'gate', ...SUBMITTER, idempotencyKey: 'k' });
    assert.equal(event.state, 'waiting');
  });

  test('drops and counts a second result of an event, whoever it comes from', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus);
    await openWorker(t, bus.connect(), 'w1');
    const { id } = await owner.queue.submit(flowsOf(2), { stream: 'gate', ...SUBMITTER });
    await until(() => isStored(owner, id));
    const attacks = flowsOf(4, 0);
    const score = { probability: 0.9, confidence: 0.9, verdict: 'attack', certificate: 'absent' } as const;
    const model = { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` } as const;
    const second = encodeResult({
      ...{ id, stream: 'gate', worker: 'w2', rows: 4, rejects: {}, untilMs: 1, attacks },
      verdicts: { attack: 4, benign: 0, abstain: 0 },
      scores: new Array(4).fill({ ...score, model }),
    });
    // As after the two minutes in which the bus knows an id.
    for (let i = 0; i < 3; i++) await bus.publish(RESULTS_TOPIC, second);
    await bus.publish(RESULTS_TOPIC, Buffer.from('nonsense'));
    await until(async () => (await counted(owner, 'events_duplicates_total')) === 3);
    assert.equal(await countedFlows(owner), 2);
    assert.match(await owner.metrics.text(), /events_results_total\{outcome="malformed"\} 1/);
  });

  test('stores nothing of a result whose flows have no time, and goes on', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus);
    const score = { probability: 0.9, confidence: 0.9, verdict: 'attack', certificate: 'absent' } as const;
    const model = { name: 'flow', version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` } as const;
    const ids: string[] = [];
    for (const endMs of [Number.NaN, 1e300, -1e300, 0]) {
      const attacks = flowsOf(1, 0);
      if (endMs !== 0) attacks.numbers[FLOW_NUMBER_INDEX.end_ms] = endMs;
      const id = newEventId();
      ids.push(id);
      const result = encodeResult({
        ...{ id, stream: 'gate', worker: 'w2', rows: 1, rejects: {}, untilMs: 1, attacks },
        verdicts: { attack: 1, benign: 0, abstain: 0 },
        scores: [{ ...score, model }],
      });
      await bus.publish(RESULTS_TOPIC, result);
    }
    await until(() => isStored(owner, ids[3] as string));
    assert.equal((await owner.db.eventResults.findStored(ids)).size, 1);
    assert.match(await owner.metrics.text(), /events_results_total\{outcome="malformed"\} 3/);
  });

  test('gives a failed result to an event that cannot be judged, beside others that can', async (t) => {
    const bus = new MemoryBus();
    const rails = new Guardrails(createPolicy(responseConfigSchema.parse({})));
    const judge: Guardrails['judge'] = (flow) => {
      if (flow.source === '203.0.113.9') throw new RangeError('broken');
      return rails.judge(flow);
    };
    const owner = await openOwner(t, bus, { guardrails: { judge } });
    const options = { stream: 'gate', ...SUBMITTER };
    const broken = await owner.queue.submit(flowsOf(2, 0, '203.0.113.9'), options);
    const sound = await owner.queue.submit(flowsOf(2, 0), options);
    await openWorker(t, bus.connect(), 'w1');
    await until(async () => (await isStored(owner, broken.id)) && (await isStored(owner, sound.id)));
    const failed = (await owner.queue.find(broken.id)) as { state: string; failed?: { code: string } };
    assert.deepEqual([failed.state, failed.failed?.code], ['failed', 'guardian.result-refused']);
    assert.equal((await owner.queue.find(sound.id))?.state, 'done');
    assert.match(await owner.metrics.text(), /events_results_total\{outcome="failed"\} 1/);
    assert.equal(await countedFlows(owner), 2);
  });

  test('stores an event once where the database failed, committed or not', async (t) => {
    const bus = new MemoryBus();
    let calls = 0;
    const owner = await openOwner(t, bus, {
      wrap: (db) =>
        failing(db, async (save) => {
          calls++;
          if (calls % 3 === 2) await save();
          if (calls % 3 !== 0) throw new StorageError('storage.database-unreachable', 'gone');
          await save();
        }),
    });
    await openWorker(t, bus.connect(), 'w1');
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { id } = await owner.queue.submit(flowsOf(2), { stream: `gate-${i}`, ...SUBMITTER });
      await until(() => isStored(owner, id));
      ids.push(id);
    }
    assert.equal(await owner.db.eventResults.count(), 3);
    await until(async () => owner.store.stats.unsaved === 0);
    await owner.store.finish().catch(() => owner.store.flush().catch(() => owner.store.flush()));
    const all = await owner.store.list();
    assert.equal(
      all.reduce((sum, { flows }) => sum + flows, 0),
      6,
    );
  });

  test('refuses what the bus has no room for, and asks to come again', async (t) => {
    const bus = new MemoryBus({ maxTopicBytes: 2_000 });
    const owner = await openOwner(t, bus);
    const options = { stream: 'gate', ...SUBMITTER };
    await owner.queue.submit(flowsOf(1), options);
    const refused = owner.queue.submit(flowsOf(30), options);
    await assert.rejects(refused, { code: 'guardian.queue-full', retryAfterMs: 5_000 });
    const large = new FlowBatch('packets', 8_000);
    large.rows = 8_000;
    const random = new SeededRandom(1);
    large.numbers.forEach((_, i) => {
      large.numbers[i] = i < 80_000 ? random.uniform(0, 1) : Number.NaN;
    });
    await assert.rejects(owner.queue.submit(large, options), { code: 'guardian.event-too-large' });
    assert.match(await owner.metrics.text(), /events_refused_total\{reason="guardian.queue-full"\} 1/);
  });

  test('is not opened on a bus that is not sealed', async (t) => {
    const bus = new MemoryBus();
    const remote = overridden(bus.connect(), {});
    Object.defineProperty(remote, 'kind', { value: 'nats' });
    const folder = mkdtempSync(join(tmpdir(), 'queue-'));
    const owner = await openQueueOwner(folder, async () => remote);
    t.after(async () => {
      await owner.close();
      rmSync(folder, { recursive: true });
    });
    const refused = owner.queue.submit(flowsOf(1), { stream: 'gate', ...SUBMITTER });
    await assert.rejects(refused, { code: 'guardian.no-bus', message: /sealingKeyFile/ });
  });

  test('gives a failed result to an event that nobody can score', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus);
    const engine = { score: () => Promise.reject(new TypeError('a fault of ours')) };
    await openWorker(t, bus.connect(), 'w1', { engine, options: { maxAttempts: 1 } });
    const options = { stream: 'gate', ...SUBMITTER };
    const broken = await owner.queue.submit(flowsOf(1), options);
    const unknown = await owner.queue.submit(flowsOf(1), { ...options, model: 'nobody' });
    await until(async () => (await isStored(owner, broken.id)) && (await isStored(owner, unknown.id)));
    const codeOf = async ({ id }: { id: string }) =>
      ((await owner.queue.find(id)) as { failed?: { code: string } }).failed?.code;
    assert.deepEqual([await codeOf(broken), await codeOf(unknown)], ['unknown', 'guardian.model-missing']);
  });

  test('gives up an event that no worker can read, and goes on with those behind it', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus, { partitions: 1 });
    const metrics = new Metrics();
    const id = newEventId();
    const event = encodeEvent({ id, stream: 'gate', model: 'flow', flows: flowsOf(1) });
    await bus.publish('events.p0', Buffer.from('nonsense'));
    await bus.publish('events.p0', event.subarray(0, event.length - 1));
    const options = { maxPending: 2, maxAttempts: 2 };
    const worker = await openWorker(t, bus.connect(), 'w1', { metrics, options });
    const behind = await owner.queue.submit(flowsOf(1), { stream: 'gate', ...SUBMITTER });
    await until(async () => (await isStored(owner, behind.id)) && (await isStored(owner, id)));
    const failed = (await owner.queue.find(id)) as { failed?: { code: string } };
    assert.equal(failed.failed?.code, 'guardian.message-malformed');
    assert.match(await metrics.text(), /queue_worker_events_total\{outcome="malformed"\} 2/);
    assert.deepEqual([worker.stats.events, worker.stats.failed], [2, 1]);
  });

  test('holds results back while their topic is full, and loses none', async (t) => {
    const bus = new MemoryBus();
    let isFull = true;
    const owner = await openOwner(t, bus);
    const guarded = overridden(bus.connect(), {
      publish: async (connection: Bus, ...given: Parameters<Bus['publish']>) => {
        if (isFull) throw new BusError('bus.full', 'no room');
        await connection.publish(...given);
      },
    });
    const worker = await openWorker(t, guarded, 'w1');
    const sent = [];
    for (let i = 0; i < 6; i++) {
      sent.push(await owner.queue.submit(flowsOf(1), { stream: `gate-${i}`, ...SUBMITTER }));
    }
    await until(() => worker.stats.partitions.length === 4);
    assert.equal(worker.stats.events, 0);
    isFull = false;
    await until(async () => (await owner.db.eventResults.count()) === 6);
    await until(() => worker.stats.events === 6);
    assert.equal(await countedFlows(owner), 6);
    assert.equal(sent.length, 6);
  });

  test('shares the partitions evenly, and takes over those of a worker that went silent', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus, { partitions: 6 });
    let isReady = false;
    const unready = await openWorker(t, bus.connect(), 'w0', { isReady: () => isReady });
    const first = await openWorker(t, bus.connect(), 'w1');
    await until(() => first.stats.partitions.length === 6);
    isReady = true;
    await until(() => unready.stats.partitions.length === 3);
    isReady = false;
    await until(() => first.stats.partitions.length === 6);
    const second = await openWorker(t, bus.connect(), 'w2');
    const dying = bus.connect();
    const third = await openWorker(t, dying, 'w3');
    const loads = () => [first, second, third].map(({ stats }) => stats.partitions.length);
    await until(() => loads().join() === '2,2,2');
    const sent: string[] = [];
    const send = async (n: number) => {
      for (let i = 0; i < n; i++) {
        const { id } = await owner.queue.submit(flowsOf(1), { stream: `gate-${i}`, ...SUBMITTER });
        sent.push(id);
      }
    };
    await send(30);
    await dying.close();
    await send(30);
    await until(async () => (await owner.db.eventResults.count()) === 60);
    await until(() => first.stats.partitions.length === 3 && second.stats.partitions.length === 3);
    assert.ok(first.stats.takeovers + second.stats.takeovers >= 2);
    assert.equal((await owner.db.eventResults.findStored(sent)).size, 60);
    assert.equal(await countedFlows(owner), 60);
  });

  test('does not put the flows of an event that comes again into the windows twice', async (t) => {
    const bus = new MemoryBus();
    const owner = await openOwner(t, bus, { partitions: 1 });
    const batches: number[] = [];
    let failures = 2;
    const lossy = overridden(bus.connect(), {
      consume: async function* (connection: Bus, ...given: Parameters<Bus['consume']>) {
        for await (const delivery of connection.consume(...given)) {
          const ack = () => (failures-- > 0 ? Promise.reject(new Error('the link is cut')) : delivery.ack());
          yield { ...delivery, ack };
        }
      },
    });
    const worker = await openWorker(t, lossy, 'w1', {
      engine: {
        score: async ({ rows }) => {
          batches.push(rows);
          return [];
        },
      },
    });
    const { id } = await owner.queue.submit(flowsOf(0, 0), { stream: 'gate', ...SUBMITTER });
    await until(() => isStored(owner, id));
    await until(() => failures < 0);
    assert.deepEqual(batches, [0]);
    assert.equal(worker.stats.events, 1);
    assert.ok(worker.stats.redelivered >= 1);
  });
});

/** A database whose writes of detections go through `save`. */
function failing(db: Database, save: (write: () => Promise<void>) => Promise<void>): Database {
  type Queries = Database['detections'];
  const detections = overridden(db.detections, {
    saveDetections: (queries: Queries, ...given: Parameters<Queries['saveDetections']>) =>
      save(() => queries.saveDetections(...given)),
  });
  return { ...db, detections, close: () => db.close() };
}

/** The object with some methods replaced by functions that get the object first. */
function overridden<T extends object>(target: T, methods: Readonly<Record<string, unknown>>): T {
  return new Proxy(target, {
    get: (_, name) => {
      const replaced = methods[String(name)];
      if (typeof replaced === 'function') return replaced.bind(undefined, target);
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
