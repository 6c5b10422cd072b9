import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type Digest, ManualClock } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { DetectionModel } from '../models/index.ts';
import type { Pressure } from './admission/admission.ts';
import { readInferenceConfig } from './config.ts';
import { InferenceError } from './errors.ts';
import type { ModelRuntime } from './model-runtime.ts';
import { Scheduler } from './scheduler.ts';
import { Scorer } from './scorer.ts';
import { ServedModel } from './served-model.ts';

const SCHEMA: Digest = `sha256:${'a'.repeat(64)}`;

/** Gives the one column back as the probability, at once or in another turn. */
function serve(batchSize: number, isLater = false): ServedModel {
  const model: DetectionModel = {
    ...{ schemaId: SCHEMA, columnNames: ['p'], kinds: [], sourceKinds: ['packets'], threshold: 0.5 },
    score: (values, rows, out) => out.probability.set(values.subarray(0, rows)),
    explain: () => [],
  };
  const later: ModelRuntime = {
    kind: 'asynchronous',
    score: async (values, rows, out) => {
      await new Promise((resolve) => setImmediate(resolve));
      model.score(values, rows, out);
    },
  };
  const info = { name: 'flow', version: '1.0.0', digest: SCHEMA, schemaId: SCHEMA } as const;
  const served = { ...info, sourceKinds: ['packets'], model, ...(isLater && { runtime: later }) };
  return new ServedModel(served, batchSize);
}

function batchOf(rows: number): FeatureBatch {
  return {
    ...{ schemaId: SCHEMA, sourceKind: 'packets', columns: 1, rejected: [] },
    ...{ rows, values: new Float32Array(rows).fill(0.75) },
  };
}

suite('what is scored at once', () => {
  const schedulerOf = (pressure: Pressure, workers = 0) =>
    new Scheduler({
      config: readInferenceConfig({ workers, batchSize: 1_024 }),
      clock: new ManualClock(),
      pressure: () => pressure,
    });

  test('is a batch at most where there are no threads', () => {
    const scheduler = schedulerOf('none');
    const served = serve(1_024);
    assert.equal(scheduler.isInline(served, 1, 'live'), true);
    assert.equal(scheduler.isInline(served, 1_024, 'batch'), true);
    assert.equal(scheduler.isInline(served, 1_025, 'live'), false);
  });

  test('is batch work only in trifles while the machine is short, none when it sheds, and live work always', () => {
    for (const [pressure, few] of [
      ['slow-batch', true],
      ['shed', false],
    ] as const) {
      const scheduler = schedulerOf(pressure);
      assert.equal(scheduler.isInline(serve(1_024), 1, 'batch'), few);
      assert.equal(scheduler.isInline(serve(1_024), 1_000, 'batch'), false);
      assert.equal(scheduler.isInline(serve(1_024), 1, 'live'), true);
    }
  });
});

suite('a machine that is short of something', () => {
  function setUp(pressure: Pressure) {
    const config = readInferenceConfig({ workers: 0, batchSize: 8 });
    const scorer = new Scorer(config, new ManualClock(), undefined, undefined, { pressure: () => pressure });
    scorer.put(serve(8));
    return scorer;
  }

  test('refuses batch work with the reason and when to come again, and answers live work', async () => {
    const scorer = setUp('shed');
    await assert.rejects(scorer.scoreColumns(batchOf(4), { priority: 'batch' }), {
      ...{ code: 'inference.overloaded', refusal: 'throttled', retry: true, retryAfterMs: 1_000 },
    });
    assert.equal((await scorer.scoreColumns(batchOf(20))).degraded, undefined);
    assert.equal(scorer.stats.shed.throttled, 1);
  });

  test('scores batch work in smaller slices, one request at a time', async () => {
    const scorer = setUp('slow-batch');
    const answers = [batchOf(20), batchOf(12)].map((batch) =>
      scorer.scoreColumns(batch, { priority: 'batch' }),
    );
    await Promise.all(answers);
    const { counts, bounds } = scorer.histograms.batchRows;
    // Slices of two rows, a quarter of a batch.
    assert.equal(counts[bounds.indexOf(1)], 0);
    assert.equal(counts[bounds.indexOf(4)], 16);
    assert.equal(scorer.stats.rows, 32);
  });
});

suite('many requests at once', () => {
  test('answer live work between the slices of a large batch', async () => {
    const scorer = new Scorer(readInferenceConfig({ workers: 0, batchSize: 8 }), new ManualClock());
    scorer.put(serve(8));
    const order: string[] = [];
    const large = scorer.scoreColumns(batchOf(800), { priority: 'batch' }).then(() => order.push('large'));
    const other = scorer.scoreColumns(batchOf(80)).then(() => order.push('live, in slices'));
    const single = scorer.scoreColumns(batchOf(1)).then(() => order.push('live, at once'));
    await Promise.all([large, other, single]);
    assert.deepEqual(order, ['live, at once', 'live, in slices', 'large']);
  });

  /** Against the model asked directly, whatever is asked, joined, refused or withdrawn meanwhile. */
  test('are each answered once, with what the model says of their own rows', async () => {
    const request = fc.record({
      rows: fc.integer({ min: 0, max: 40 }),
      priority: fc.constantFrom('live' as const, 'batch' as const),
      deadlineMs: fc.integer({ min: 50, max: 5_000 }),
      isWithdrawn: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
      turns: fc.integer({ min: 0, max: 3 }),
    });
    const run = async (requests: readonly (typeof request extends fc.Arbitrary<infer T> ? T : never)[]) => {
      const scorer = new Scorer(
        readInferenceConfig({ workers: 0, batchSize: 8, maxConcurrentRequests: 6 }),
        new ManualClock(),
      );
      scorer.put(serve(8, true));
      let answered = 0;
      const running = requests.map(async ({ rows, priority, deadlineMs, isWithdrawn, turns }, i) => {
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        const values = Float32Array.from({ length: rows }, (_, row) => ((i * 41 + row) % 128) / 128);
        const withdrawn = new AbortController();
        const answer = scorer.scoreColumns(
          { ...batchOf(rows), values },
          { priority, deadlineMs, signal: withdrawn.signal },
        );
        if (isWithdrawn) withdrawn.abort();
        try {
          assert.deepEqual((await answer).probability, values);
        } catch (error) {
          assert.ok(error instanceof InferenceError, String(error));
          const isOurs =
            error.code === 'inference.overloaded' || (isWithdrawn && error.code === 'inference.cancelled');
          assert.ok(isOurs && (error.code === 'inference.cancelled' || error.retryAfterMs !== undefined));
        }
        answered++;
      });
      await Promise.all(running);
      const { inFlight, scheduler } = scorer.stats;
      assert.deepEqual(
        [answered, inFlight, scheduler?.underWay, scheduler?.waiting],
        [requests.length, 0, 0, 0],
      );
    };
    await fc.assert(fc.asyncProperty(fc.array(request, { maxLength: 40 }), run), { seed: 6, numRuns: 40 });
  });
});
