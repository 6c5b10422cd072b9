import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Digest, ManualClock } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { DetectionModel } from '../models/index.ts';
import type { Pressure } from './admission/admission.ts';
import { readInferenceConfig } from './config.ts';
import { Scheduler } from './scheduler.ts';
import { Scorer } from './scorer.ts';
import { ServedModel } from './served-model.ts';

const SCHEMA: Digest = `sha256:${'a'.repeat(64)}`;

function serve(batchSize: number): ServedModel {
  const model: DetectionModel = {
    ...{ schemaId: SCHEMA, columnNames: ['p'], kinds: [], sourceKinds: ['packets'], threshold: 0.5 },
    score: (values, rows, out) => out.probability.set(values.subarray(0, rows)),
    explain: () => [],
  };
  const info = { name: 'flow', version: '1.0.0', digest: SCHEMA, schemaId: SCHEMA } as const;
  return new ServedModel({ ...info, sourceKinds: ['packets'], model }, batchSize);
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

  test('is no batch work while the machine is short, and live work always', () => {
    for (const pressure of ['slow-batch', 'shed'] as const) {
      const scheduler = schedulerOf(pressure);
      assert.equal(scheduler.isInline(serve(1_024), 1, 'batch'), false);
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
