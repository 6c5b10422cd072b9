import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { randomRows } from '../../../test/support/random-model.ts';
import { type House, makeCandidate, openHouse } from '../../../test/support/registry-fixture.ts';
import { ManualClock, SeededRandom, systemClock } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import { threadEvidence, type VerifiedModel, verifyInThread } from '../../registry/index.ts';
import { Engine } from '../engine.ts';
import { ThreadPool } from './thread-pool.ts';

const ROWS = 100;
const DYING = new URL('../../../test/support/dying-thread.ts', import.meta.url);

suite('threads that score', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pool-'));
  let house: House;
  let first: VerifiedModel;
  let second: VerifiedModel;

  before(async () => {
    house = await openHouse(folder, new ManualClock());
    for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), { principal: 'test' });
    first = await house.registry.verify('flow@1.0.0');
    second = await house.registry.verify('flow@1.1.0');
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  function poolOf(threads: number, onFree = () => {}): ThreadPool {
    return new ThreadPool({ threads, rows: ROWS, clock: systemClock, onFree });
  }

  function expected(model: VerifiedModel, values: Float32Array): Float32Array {
    const probability = new Float32Array(ROWS);
    model.model.score(values, ROWS, { probability, kind: new Int16Array(ROWS) });
    return probability;
  }

  function batchOf(values: Float32Array): FeatureBatch {
    const { schemaId } = first;
    return { schemaId, sourceKind: 'packets', rows: ROWS, columns: 3, values, rejected: [] };
  }

  test('give what each model gives, and wipe what they were given', async () => {
    const pool = poolOf(1);
    const [one, two] = [{}, {}];
    await pool.add(one, first);
    await pool.start();
    await pool.add(two, second);
    for (const [key, model] of [
      [one, first],
      [two, second],
    ] as const) {
      const thread = pool.take(key);
      assert.ok(thread !== undefined && !pool.isFree(key));
      const values = randomRows(new SeededRandom(3), ROWS);
      thread.values.set(values);
      await pool.run(thread, key, ROWS);
      assert.deepEqual(thread.out.probability.subarray(0, ROWS), expected(model, values));
      assert.ok(thread.values.every((value) => value === 0));
      pool.release(thread);
    }
    assert.ok(pool.hopMs > 0);
    pool.remove(one);
    assert.equal(pool.has(one), false);
    assert.equal(pool.has(two), true);
    await pool.close();
  });

  test('verify by themselves: a changed byte is refused', async () => {
    const evidence = threadEvidence(first);
    assert.ok(evidence !== undefined);
    assert.equal((await verifyInThread(evidence)).digest, first.digest);
    for (const part of ['weights', 'manifest', 'gates', 'schema', 'signature'] as const) {
      const bytes = Uint8Array.from(evidence[part]);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      await assert.rejects(verifyInThread({ ...evidence, [part]: bytes }), { category: 'security' });
    }
  });

  test('are replaced where one is killed, and its batch is answered nevertheless', async () => {
    const engine = new Engine({
      clock: systemClock,
      config: { workers: 1, batchSize: ROWS },
      threadEntry: DYING,
    });
    await engine.load(first);
    await engine.start();
    const values = randomRows(new SeededRandom(4), 10 * ROWS);
    values[0] = 666;
    const large: FeatureBatch = { ...batchOf(values), rows: 10 * ROWS };
    const { probability, degraded } = await engine.scoreColumns(large);
    assert.equal(degraded, undefined);
    assert.deepEqual(probability.subarray(0, ROWS), expected(first, values.subarray(0, 3 * ROWS)));
    assert.equal(engine.stats.scheduler?.pool.lost, 1);
    await engine.close();
  });

  test('lose only the request that kills each of them', async () => {
    const config = { workers: 2, batchSize: ROWS, timeoutMs: 60_000 } as const;
    const engine = new Engine({ clock: systemClock, config, threadEntry: DYING });
    await engine.load(first);
    await engine.start();
    const poison = randomRows(new SeededRandom(5), 2 * ROWS);
    poison[0] = 666;
    const good = randomRows(new SeededRandom(6), 2 * ROWS);
    const [bad, ...others] = await Promise.all(
      [poison, ...new Array<Float32Array>(10).fill(good)].map((values) =>
        engine.scoreColumns({ ...batchOf(values), rows: 2 * ROWS }),
      ),
    );
    assert.match(bad?.degraded ?? '', /inference\.worker-lost/);
    for (const { probability, degraded } of others) {
      assert.equal(degraded, undefined);
      assert.deepEqual(probability.subarray(0, ROWS), expected(first, good));
    }
    await engine.close();
  });

  test('are ended where they hang, and the caller does not wait for them', async () => {
    const engine = new Engine({
      clock: systemClock,
      config: { workers: 1, batchSize: ROWS },
      threadEntry: DYING,
    });
    await engine.load(first);
    await engine.start();
    const values = randomRows(new SeededRandom(7), 2 * ROWS);
    values[0] = 777;
    const batch = { ...batchOf(values), rows: 2 * ROWS };
    const late = await engine.scoreColumns(batch, { deadlineMs: 50 });
    assert.match(late.degraded ?? '', /deadline passed after 0 of 200 rows/);
    values[0] = 0;
    // Waits until the thread that hangs was ended.
    const next = await engine.scoreColumns(batch);
    assert.equal(next.degraded, undefined);
    assert.equal(engine.stats.scheduler?.pool.lost, 1);
    await engine.close();
  });
});
