import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { makeJudged, TRAFFIC_START } from '../../test/support/judged.ts';
import { ManualClock } from '../base/index.ts';
import { type Database, openDatabase, StorageError } from '../storage/index.ts';
import type { Detection } from './detection.ts';
import { DetectionStore, type DetectionStoreOptions } from './detection-store.ts';
import { AlertsError } from './errors.ts';
import { SuppressionList } from './suppression.ts';

const NOW = Date.UTC(2026, 5, 1);
const exfiltration = (source: string) => makeJudged({ sourceAddress: source }, { kind: 'exfiltration' });

async function openStore(
  t: TestContext,
  options: Partial<DetectionStoreOptions> = {},
): Promise<{ store: DetectionStore; db: Database; clock: ManualClock }> {
  const folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  const db = await openDatabase(join(folder, 'guardian.db'));
  t.after(async () => {
    await db.close();
    rmSync(folder, { recursive: true });
  });
  const clock = new ManualClock(NOW);
  return { store: new DetectionStore({ queries: db.detections, clock, ...options }), db, clock };
}

suite('the detection store', () => {
  test('keeps a finding through its life, and gives it back as it was', async (t) => {
    const { store, clock } = await openStore(t);
    const [created] = await store.record([exfiltration('10.0.0.5')]);
    clock.advance(1_000);
    const [updated] = await store.record([exfiltration('10.0.0.5')]);
    assert.deepEqual(await store.list(), [updated]);
    const [closed] = await store.advance(TRAFFIC_START + 3_600_000);
    assert.deepEqual(
      [created, updated, closed].map((state) => [
        state?.activity,
        state?.revision,
        state?.time,
        state?.modifiedMs,
      ]),
      [
        ['create', 1, NOW, NOW],
        ['update', 2, NOW, NOW + 1_000],
        ['close', 3, NOW, NOW + 1_000],
      ],
    );
    assert.deepEqual(await store.find(closed?.uid ?? ''), closed);
    assert.equal(await store.find('nobody'), undefined);
    assert.deepEqual(await store.list({ kind: 'port-scan' }), []);
    assert.equal((await store.list({ source: '10.0.0.5' })).length, 1);
    assert.deepEqual(store.stats.stored, { create: 1, update: 1, close: 1 });
  });

  test('stores what an event came to with the findings it raised', async (t) => {
    const { store, db } = await openStore(t);
    const event = (id: string, source: string) => ({
      ...{ id, stream: 'gate', records: [exfiltration(source)], untilMs: TRAFFIC_START },
      body: { flows: 1 },
    });
    const raised = await store.recordEvents([event('e1', '10.0.0.5'), event('e2', '10.0.0.6')]);
    assert.equal(raised.length, 2);
    const body = { flows: 1, detections: [raised[0]?.uid] };
    assert.deepEqual(await db.eventResults.find('e1'), { id: 'e1', time: NOW, body });
  });

  for (const isCommitted of [false, true]) {
    const answer = isCommitted ? 'committed and not answered' : 'lost';
    test(`stores a finding and its event once where the first write was ${answer}`, async (t) => {
      const { db } = await openStore(t);
      let failures = 1;
      const lossy = async (...given: Parameters<typeof db.detections.saveDetections>) => {
        const isLost = failures-- > 0;
        if (!isLost || isCommitted) await db.detections.saveDetections(...given);
        if (isLost) throw new StorageError('storage.database-unreachable', 'gone');
      };
      const queries = new Proxy(db.detections, {
        get: (target, name) => {
          const member: unknown = name === 'saveDetections' ? lossy : Reflect.get(target, name, target);
          return typeof member === 'function' ? member.bind(target) : member;
        },
      });
      const { store } = await openStore(t, { queries, results: db.eventResults });
      const subscription = store.subscribe();
      const event = { id: 'e1', stream: 'gate', untilMs: TRAFFIC_START, body: {} };
      const records = [exfiltration('10.0.0.5')];
      await assert.rejects(store.recordEvents([{ ...event, records }]), { code: 'alerts.not-stored' });
      const [stored] = await store.flush();
      assert.deepEqual(await store.flush(), []);
      assert.deepEqual([stored?.flows, store.stats.stored.create, store.stats.unsaved], [1, 1, 0]);
      assert.equal((await subscription.next()).value?.uid, stored?.uid);
      assert.equal(await db.detections.countDetections(), 1);
      assert.equal(await db.eventResults.count(), 1);
    });
  }

  test('tells subscribers what was stored, each at its own pace', async (t) => {
    const { store } = await openStore(t);
    const fast = store.subscribe();
    const slow = store.subscribe({ buffer: 2 });
    const first = fast.next();
    for (let i = 1; i <= 5; i++) await store.record([exfiltration(`10.0.0.${i}`)]);
    assert.equal((await first).value?.source.address, '10.0.0.1');
    store.close();
    const read = async (from: AsyncIterable<Detection>) => {
      const addresses: string[] = [];
      for await (const { source } of from) addresses.push(source.address);
      return addresses;
    };
    assert.deepEqual(await read(fast), ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5']);
    assert.deepEqual(await read(slow), ['10.0.0.4', '10.0.0.5']);
    assert.equal(slow.dropped, 3);
    assert.equal(store.stats.dropped, 3);
  });

  test('forgets a subscriber that leaves its loop', async (t) => {
    const { store } = await openStore(t);
    const subscription = store.subscribe({ buffer: 1 });
    await store.record([exfiltration('10.0.0.1')]);
    for await (const _ of subscription) break;
    await store.record([exfiltration('10.0.0.2'), exfiltration('10.0.0.3')]);
    assert.deepEqual(await subscription.next(), { done: true, value: undefined });
    assert.equal(store.stats.dropped, 0);
  });

  test('keeps what could not be stored, tells nobody, and stores it with the next call', async (t) => {
    const { db } = await openStore(t);
    let isBroken = true;
    const queries: DetectionStoreOptions['queries'] = {
      saveDetections: async (changes) => {
        if (isBroken) throw new RangeError('disk full');
        await db.detections.saveDetections(changes);
      },
      listDetections: (options) => db.detections.listDetections(options),
      findDetection: (uid) => db.detections.findDetection(uid),
      listOutbox: (options) => db.detections.listOutbox(options),
      confirmOutbox: (sequences) => db.detections.confirmOutbox(sequences),
    };
    const store = new DetectionStore({ queries, clock: new ManualClock(NOW) });
    const subscription = store.subscribe();
    for (const count of [1, 2]) {
      await assert.rejects(
        store.record([exfiltration('10.0.0.1')]),
        (error) => error instanceof AlertsError && error.code === 'alerts.not-stored' && error.retry,
      );
      assert.equal(store.stats.unsaved, count);
    }
    isBroken = false;
    const stored = await store.record([exfiltration('10.0.0.2')]);
    assert.deepEqual(
      stored.map(({ activity, source, flows }) => [activity, source.address, flows]),
      [
        ['create', '10.0.0.1', 1],
        ['update', '10.0.0.1', 2],
        ['create', '10.0.0.2', 1],
      ],
    );
    assert.equal(store.stats.unsaved, 0);
    assert.equal((await subscription.next()).value?.flows, 1);
    assert.equal((await store.list()).length, 2);
  });

  test('stores calls that overlap in their order', async (t) => {
    const { store } = await openStore(t);
    const states = await Promise.all([
      store.record([exfiltration('10.0.0.1')]),
      store.record([exfiltration('10.0.0.1')]),
      store.finish(),
    ]);
    assert.deepEqual(
      states.flat().map(({ activity }) => activity),
      ['create', 'update', 'close'],
    );
    assert.equal((await store.list())[0]?.activity, 'close');
  });

  test('delivers each notice at least once, and goes on where sending failed', async (t) => {
    const { store } = await openStore(t);
    await store.record([exfiltration('10.0.0.1'), exfiltration('10.0.0.2')]);
    const sent: string[] = [];
    const failing = store.deliver(async ({ source }) => {
      if (sent.length === 1) throw new RangeError('sink is away');
      sent.push(source.address);
    });
    await assert.rejects(failing, RangeError);
    assert.equal(await store.deliver(async ({ source }) => void sent.push(source.address)), 1);
    assert.deepEqual(sent, ['10.0.0.1', '10.0.0.2']);
    assert.equal(await store.deliver(async () => assert.fail('nothing waits')), 0);
  });

  test('gives each stream its own time, and ends each by itself', async (t) => {
    const { store } = await openStore(t);
    const scan = (startMs: number) => [makeJudged({ startMs })];
    const later = TRAFFIC_START + 86_400_000;
    const states: Detection[] = [];
    // A live stream and a replay of the day before, flow by flow in turn: three flows make a finding in each.
    for (let i = 0; i < 3; i++) {
      states.push(
        ...(await store.record(scan(later), 'live')),
        ...(await store.record(scan(TRAFFIC_START), 'replay')),
      );
    }
    assert.deepEqual(
      states.map(({ activity, lastSeenMs }) => [activity, lastSeenMs]),
      [
        ['create', later + 500],
        ['create', TRAFFIC_START + 500],
      ],
    );
    assert.deepEqual(await store.advance(later, 'live'), []);
    assert.equal((await store.finish('replay'))[0]?.lastSeenMs, TRAFFIC_START + 500);
    assert.equal(store.stats.openFindings, 1);
    assert.deepEqual(await store.finish('replay'), []);
    assert.equal((await store.finish())[0]?.lastSeenMs, later + 500);
  });

  test('follows a bounded number of streams: the one unused longest is ended', async (t) => {
    const { store } = await openStore(t);
    for (let i = 0; i < 64; i++) await store.record([exfiltration('10.0.0.1')], `stream ${i}`);
    await store.record([], 'stream 0');
    assert.equal(store.stats.openFindings, 64);
    const states = await store.record([exfiltration('10.0.0.1')], 'one more');
    assert.deepEqual(
      states.map(({ activity }) => activity),
      ['close', 'create'],
    );
    assert.equal(store.stats.openFindings, 64);
  });

  test('refuses a stored detection of another format', async (t) => {
    const { store, db } = await openStore(t);
    const row = { uid: 'x', time: 1, lastSeen: 1, kind: 'a', source: 'b', detection: { v: 2, uid: 'x' } };
    await db.detections.insertDetection(row);
    await assert.rejects(store.list(), { code: 'alerts.malformed-detection' });
  });
});

suite('suppression', () => {
  const rule = {
    id: 'scanner',
    kind: 'exfiltration',
    source: '10.0.0.0/24',
    untilMs: NOW + 1_000,
    reason: 'ours',
  };

  test('silences notices, never storage, until it expires', async (t) => {
    const { store, clock } = await openStore(t, { suppression: new SuppressionList([rule]) });
    const subscription = store.subscribe();
    const [silenced] = await store.record([exfiltration('10.0.0.5')]);
    assert.equal(silenced?.suppressedBy, 'scanner');
    assert.equal((await store.list())[0]?.suppressedBy, 'scanner');
    assert.equal(await store.deliver(async () => assert.fail('it is silenced')), 0);
    await store.record([exfiltration('10.0.1.5')]);
    assert.equal((await subscription.next()).value?.source.address, '10.0.1.5');
    clock.advance(1_000);
    const [told] = await store.record([exfiltration('10.0.0.5')]);
    assert.equal(told?.suppressedBy, undefined);
    assert.equal(store.stats.suppressed, 1);
    store.suppress(new SuppressionList([{ ...rule, untilMs: NOW + 9_000 }]));
    const closed = await store.finish();
    assert.deepEqual(
      closed.map(({ source, suppressedBy }) => [source.address, suppressedBy]),
      [
        ['10.0.1.5', undefined],
        ['10.0.0.5', 'scanner'],
      ],
    );
  });

  const misses = [
    { kind: 'port-scan' },
    { source: '10.0.1.0/24' },
    { destination: '10.0.0.8' },
    { untilMs: NOW },
  ];
  for (const change of misses) {
    test(`does not reach beyond its conditions: ${JSON.stringify(change)}`, async (t) => {
      const { store } = await openStore(t, { suppression: new SuppressionList([{ ...rule, ...change }]) });
      const [state] = await store.record([exfiltration('10.0.0.5')]);
      assert.equal(state?.suppressedBy, undefined);
    });
  }

  const refused = [
    { id: 'a', untilMs: 1, reason: 'everything' },
    { id: 'b', kind: 'port-scan', untilMs: Number.POSITIVE_INFINITY, reason: 'for ever' },
    { id: 'c', source: '10.0.0.1/8', untilMs: 1, reason: 'host bits' },
    { id: 'd', destination: '.', untilMs: 1, reason: 'a dot' },
  ];
  for (const bad of refused) {
    test(`refuses a rule for ${bad.reason}`, () => {
      assert.throws(() => new SuppressionList([bad]), { code: 'alerts.bad-suppression' });
    });
  }
});
