import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type House, openHouse } from '../../../test/support/registry-fixture.ts';
import { flowCandidate } from '../../../test/support/served-guardian.ts';
import { ManualClock, Metrics, SeededRandom, silentLogger, systemClock } from '../../base/index.ts';
import { type Bus, BusError, MemoryBus, sealBus } from '../../bus/index.ts';
import { type FeatureBatch, type LoadedSchema, loadSchema } from '../../features/index.ts';
import type { VerifiedModel } from '../../registry/index.ts';
import { Engine } from '../engine.ts';
import { InferenceError } from '../errors.ts';
import { ServedModel } from '../served-model.ts';
import { type InferenceWorker, startInferenceWorker } from './inference-worker.ts';
import { bundleName, decodeBundle, encodeBundle } from './model-bundle.ts';
import { decodeList, encodeList, LIST_KEY, type ModelList } from './model-list.ts';
import { ModelOffer } from './model-offer.ts';
import { decodeRequest, encodeAnswer, encodeRefusal, encodeRequest, readAnswer } from './score-frames.ts';
import { readTrustFile, type WorkerTrust } from './worker-trust.ts';

const ROWS = 700;
const code = (wanted: string) => (error: unknown) => error instanceof InferenceError && error.code === wanted;

suite('inference over a bus', () => {
  const folder = mkdtempSync(join(tmpdir(), 'remote-'));
  const keyFile = join(folder, 'bus.key');
  let house: House;
  let schema: LoadedSchema;
  let first: VerifiedModel;
  let second: VerifiedModel;
  let other: VerifiedModel;
  let trust: WorkerTrust;

  before(async () => {
    writeFileSync(keyFile, new Uint8Array(32).fill(3), { mode: 0o600 });
    house = await openHouse(folder, new ManualClock());
    schema = await loadSchema('flow-core');
    const publish = async (name: string, bias: number) => {
      const { version } = await house.registry.publish(flowCandidate(schema, name, bias), {
        principal: 'test',
      });
      return await house.registry.verify(`${name}@${version}`);
    };
    [first, second, other] = [await publish('flow', 0), await publish('flow', 2), await publish('edge', 1)];
    const { publicKeyPem } = await house.keys.active('model-signing');
    trust = { publicKeysPem: [publicKeyPem ?? ''], rootCertificatesPem: [] };
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  /** An owner that has its batches scored by workers, and as many workers as are asked for. */
  async function withPool(
    work: (parts: {
      owner: Engine;
      raw: MemoryBus;
      join: (with_?: Partial<Parameters<typeof startInferenceWorker>[0]>) => Promise<InferenceWorker>;
    }) => Promise<void>,
    config: ConstructorParameters<typeof Engine>[0]['config'] = {},
  ): Promise<void> {
    const raw = new MemoryBus();
    const open: Bus[] = [];
    const connect = async () => {
      const bus = await sealBus(raw.connect(), keyFile);
      open.push(bus);
      return bus;
    };
    const owner = new Engine({
      clock: systemClock,
      isShared: true,
      config: { batchSize: 64, pool: 'bus', workers: 0, ...config },
    });
    const workers: InferenceWorker[] = [];
    try {
      owner.joinWorkers(await connect(), silentLogger);
      await work({
        ...{ owner, raw },
        join: async (more = {}) => {
          const worker = await startInferenceWorker({
            ...{ bus: await connect(), trust, threads: 0, id: `w${workers.length}` },
            ...{ logger: silentLogger, metrics: new Metrics(), clock: systemClock, ...more },
          });
          workers.push(worker);
          return worker;
        },
      });
    } finally {
      for (const worker of workers) await worker.close();
      await owner.close();
      for (const bus of open) await bus.close();
    }
  }

  function batchOf(seed: number, rows = ROWS): FeatureBatch {
    const random = new SeededRandom(seed);
    const columns = schema.schema.columns.length;
    const values = Float32Array.from({ length: rows * columns }, (_, i) =>
      schema.schema.columns[i % columns]?.categories === undefined ? random.uniform(0, 12) : 0,
    );
    return { schemaId: schema.id, sourceKind: 'packets', rows, columns, values, rejected: [] };
  }

  async function until(isSo: () => boolean): Promise<void> {
    for (let i = 0; !isSo(); i++) {
      assert.ok(i < 1_500, 'in time');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  const has = (worker: InferenceWorker, ...models: readonly string[]) =>
    until(() => [...worker.status.models].sort().join() === [...models].sort().join());

  test('a batch that workers score is answered bit for bit as one that is scored here', async () => {
    await withPool(async ({ owner, join }) => {
      await owner.load(first);
      const workers = [await join(), await join()];
      for (const worker of workers) await has(worker, 'flow@1.0.0');
      await until(() => owner.remote?.workers === 2);
      const alone = new Engine({ clock: systemClock, config: { workers: 0 } });
      await alone.load(first);
      for (const seed of [1, 2, 3]) {
        const batch = batchOf(seed);
        const [here, there] = await Promise.all([alone.scoreColumns(batch), owner.scoreColumns(batch)]);
        for (const column of ['probability', 'verdict', 'kind', 'certificate'] as const) {
          assert.deepEqual(there[column], here[column]);
        }
        assert.ok(new Set(here.verdict).size > 1, 'attacks and others');
      }
      assert.equal(owner.remote?.local, 0);
      const answered = workers.map(({ status }) => status.answered);
      assert.ok(
        answered.every((n) => n > 0),
        `both took part: ${answered}`,
      );
      await alone.close();
    });
  });

  test('workers follow what the owner serves, and forget what it withdraws', async () => {
    await withPool(async ({ owner, raw, join }) => {
      await owner.load(first);
      await owner.load(other);
      const worker = await join();
      await has(worker, 'flow@1.0.0', 'edge@1.0.0');
      assert.equal(worker.schemaOf('flow')?.id, schema.id);
      const objects = () =>
        [first, second, other].map((model) =>
          raw.getObject(bundleName(encodeBundle(model) ?? new Uint8Array(0))).then(
            () => true,
            () => false,
          ),
        );
      await owner.load(second);
      // The one before stands by at the owner, so it stays on the list.
      await has(worker, 'flow@1.1.0', 'flow@1.0.0', 'edge@1.0.0');
      assert.equal(worker.engine.current('flow')?.version, '1.1.0');
      owner.unload('edge');
      await has(worker, 'flow@1.1.0', 'flow@1.0.0');
      assert.equal(worker.schemaOf('edge'), undefined);
      assert.equal(worker.engine.current('edge'), undefined);
      owner.release('flow', '1.0.0');
      await has(worker, 'flow@1.1.0');
      assert.equal(worker.engine.models.resident('flow', '1.0.0'), undefined);
      for (let i = 0; (await Promise.all(objects())).join() !== 'false,true,false'; i++) assert.ok(i < 1_000);
      owner.unload('flow');
      await has(worker);
      assert.ok(!worker.isReady);
    });
  });

  test('what is in place and could not be answered for is withdrawn all the same', async () => {
    await withPool(async ({ owner, raw, join }) => {
      await owner.load(first);
      await owner.load(other);
      const sealed = await sealBus(raw.connect(), keyFile);
      const bus = new Proxy(sealed, {
        get: (_, name) => {
          if (name === 'respond') return () => Promise.reject(new BusError('bus.timeout', 'cut off'));
          const member: unknown = Reflect.get(sealed, name, sealed);
          return typeof member === 'function' ? member.bind(sealed) : member;
        },
      });
      const worker = await join({ bus });
      await worker.followed();
      assert.equal(worker.status.refused['edge@1.0.0'], 'bus.timeout');
      assert.equal(worker.engine.current('edge')?.version, '1.0.0');
      owner.unload('edge');
      await until(() => worker.engine.current('edge') === undefined);
      assert.equal(worker.schemaOf('edge'), undefined);
      await worker.close();
      await sealed.close();
    });
  });

  test('a model that this worker does not trust is refused, whoever put it on the bus', async () => {
    const stranger = await openHouse(mkdtempSync(join(folder, 'stranger-')), new ManualClock());
    const { publicKeyPem } = await stranger.keys.active('model-signing');
    await stranger.close();
    await withPool(async ({ owner, join }) => {
      await owner.load(first);
      const worker = await join({
        trust: { publicKeysPem: [publicKeyPem ?? ''], rootCertificatesPem: [] },
      });
      await worker.followed();
      assert.deepEqual(worker.status.models, []);
      assert.deepEqual(worker.status.refused, { 'flow@1.0.0': 'registry.signer-untrusted' });
      assert.ok(!worker.isReady);
      const batch = batchOf(4);
      assert.equal((await owner.scoreColumns(batch)).rows, ROWS);
      assert.equal(owner.remote?.answered, 0);
    });
  });

  test('an object that is another than its name says, or not the model that was listed, is refused', async () => {
    const bundle = encodeBundle(first) as Uint8Array;
    const listed = { name: 'flow', version: '1.0.0', digest: first.digest, isCurrent: true };
    const cases: Readonly<Record<string, Partial<ModelList['models'][number]> & { put?: Uint8Array }>> = {
      'other bytes': { put: encodeBundle(second) as Uint8Array },
      'another version': { version: '1.1.0' },
      'another digest': { digest: second.digest },
      'another name': { name: 'edge' },
    };
    for (const [what, { put = bundle, ...change }] of Object.entries(cases)) {
      const raw = new MemoryBus();
      const bus = await sealBus(raw, keyFile);
      const model = { ...listed, object: bundleName(bundle), ...change };
      await bus.putObject(model.object, put);
      await bus.put(LIST_KEY, encodeList({ number: 1, models: [model] }));
      const worker = await startInferenceWorker({
        ...{ bus, trust, threads: 0, logger: silentLogger, metrics: new Metrics(), clock: systemClock },
      });
      await worker.followed();
      assert.deepEqual(Object.values(worker.status.refused), ['inference.offer-refused'], what);
      assert.deepEqual(worker.status.models, [], what);
      await worker.close();
    }
  });

  test('an older list is not taken for a newer one', async () => {
    await withPool(async ({ owner, raw, join }) => {
      await owner.load(first);
      const worker = await join();
      await has(worker, 'flow@1.0.0');
      const old = await raw.get(LIST_KEY);
      await owner.load(second);
      owner.release('flow', '1.0.0');
      await has(worker, 'flow@1.1.0');
      await raw.put(LIST_KEY, old?.data ?? new Uint8Array(0));
      await until(() => worker.status.ignored === 1);
      await has(worker, 'flow@1.1.0');
    });
  });

  test('an owner whose list was lost or replaced on the bus offers it again, under a higher number', async () => {
    const raw = new MemoryBus();
    const bus = await sealBus(raw.connect(), keyFile);
    const offer = new ModelOffer();
    const served = new ServedModel(first, 64);
    offer.add(served, first);
    offer.place(served);
    offer.join(bus, silentLogger);
    await until(() => offer.number > 0);
    const old = await raw.get(LIST_KEY);
    offer.withdraw('flow');
    const before = offer.number;
    await until(() => offer.number > before);
    for (const put of [old?.data ?? new Uint8Array(0), Buffer.from('forged')]) {
      const own = offer.number;
      await offer.look();
      assert.equal(offer.number, own);
      await raw.put(LIST_KEY, put);
      await offer.look();
      await until(() => offer.number > own);
      const list = decodeList((await bus.get(LIST_KEY))?.data ?? new Uint8Array(0));
      assert.deepEqual([list.number, list.models], [offer.number, []]);
    }
    await offer.close();
    await bus.close();
  });

  test('while nobody answers, batches are scored here, and counted', async () => {
    await withPool(async ({ owner, join }) => {
      await owner.load(first);
      const batch = batchOf(5);
      const alone = await owner.scoreColumns(batch);
      // Says that it is there, and answers nobody.
      const worker = await join({ threads: 1 });
      for (let i = 0; owner.remote?.answered === 0; i++) {
        assert.ok(i < 1_000, 'it answers');
        await owner.scoreColumns(batch);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      worker.engine.unload('flow');
      assert.deepEqual((await owner.scoreColumns(batch)).probability, alone.probability);
      const { refused = 0, local = 0 } = owner.remote ?? {};
      assert.ok(refused > 0 && local > 0, `${refused} refused, ${local} here`);
      await worker.close();
      await until(() => owner.remote?.workers === 0);
      assert.deepEqual((await owner.scoreColumns(batch)).probability, alone.probability);
    });
  });

  test('the bundle of a model is taken apart as it was put together, and no other bytes are', async () => {
    const bundle = encodeBundle(first) as Uint8Array;
    assert.equal(
      decodeBundle(bundle)['manifest.json']?.length,
      decodeBundle(bundle.slice())['manifest.json']?.length,
    );
    for (let length = 0; length < bundle.length; length += 97) {
      assert.throws(() => decodeBundle(bundle.subarray(0, length)), code('inference.offer-refused'));
    }
    assert.throws(() => decodeBundle(Buffer.concat([bundle, Buffer.of(0)])), code('inference.offer-refused'));
    assert.throws(() => decodeList(Buffer.from('{"v":1,"number":1}')), code('inference.offer-refused'));
  });

  test('trust comes from PEM blocks alone, and a private key among them is refused', async () => {
    const path = join(folder, 'trust.pem');
    writeFileSync(path, `kept by ops\n${trust.publicKeysPem[0]}\n${trust.publicKeysPem[0]}`);
    assert.equal((await readTrustFile(path)).publicKeysPem.length, 2);
    for (const text of ['', 'nothing', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n']) {
      writeFileSync(path, text);
      await assert.rejects(readTrustFile(path), code('inference.trust-invalid'));
    }
    await assert.rejects(readTrustFile(join(folder, 'none.pem')), code('inference.trust-invalid'));
  });
});

test('frames of batches and answers are read as they were written, and no others', () => {
  const values = Float32Array.of(1, Number.NaN, -0, 4, 5, 6);
  const request = { rows: 2, columns: 3, deadlineMs: 250, priority: 'batch' as const, values };
  const frame = encodeRequest(request);
  assert.deepEqual(decodeRequest(frame), request);
  // A view that is not aligned, as a part of a larger message is.
  const shifted = new Uint8Array(frame.length + 1);
  shifted.set(frame, 1);
  assert.deepEqual(decodeRequest(shifted.subarray(1)), request);
  const out = { probability: new Float32Array(4), kind: new Int16Array(4) };
  const answer = encodeAnswer(2, { probability: Float32Array.of(0.25, 1), kind: Int16Array.of(-1, 3) });
  assert.equal(readAnswer(answer, 2, out), undefined);
  assert.deepEqual([...out.probability.subarray(0, 2), ...out.kind.subarray(0, 2)], [0.25, 1, -1, 3]);
  const refusal = { code: 'inference.overloaded', retryAfterMs: 40 };
  assert.deepEqual(readAnswer(encodeRefusal(refusal), 2, out), refusal);
  for (let length = 0; length < frame.length; length++) {
    assert.throws(() => decodeRequest(frame.subarray(0, length)), code('inference.offer-refused'));
  }
  for (let length = 0; length < answer.length; length++) {
    assert.throws(() => readAnswer(answer.subarray(0, length), 2, out), code('inference.offer-refused'));
  }
  assert.throws(() => readAnswer(answer, 3, out), code('inference.offer-refused'));
});
