import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Digest, ManualClock } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { DetectionModel, ScoreBatchBuffers } from '../models/index.ts';
import { readInferenceConfig } from './config.ts';
import { CERTIFICATE_STATES, VERDICTS } from './score-columns.ts';
import { type FallbackRule, Scorer } from './scorer.ts';
import { EXPLAINED_ROWS, type ModelToServe, ServedModel } from './served-model.ts';
import { BREAKER_DEFAULTS, SHADOW_DEFAULTS } from './service/config.ts';

const SCHEMA: Digest = `sha256:${'a'.repeat(64)}`;
const DIGEST: Digest = `sha256:${'b'.repeat(64)}`;

/** Gives the first column back as the probability. */
function fakeModel(change: Partial<DetectionModel> = {}): DetectionModel {
  return {
    schemaId: SCHEMA,
    columnNames: ['p', 'kind'],
    kinds: ['port-scan', 'syn-flood'],
    sourceKinds: ['packets'],
    threshold: 0.5,
    score(values: Float32Array, rows: number, out: ScoreBatchBuffers) {
      for (let i = 0; i < rows; i++) {
        out.probability[i] = values[2 * i] as number;
        out.kind[i] = values[2 * i + 1] as number;
      }
    },
    explain: (row) => [{ column: 'p', value: row[0] as number, contribution: 1 }],
    ...change,
  };
}

function serve(version: string, change: Partial<DetectionModel> = {}, batchSize = 4): ServedModel {
  const model = fakeModel(change);
  const served: ModelToServe = {
    name: 'flow',
    version,
    digest: DIGEST,
    schemaId: model.schemaId,
    sourceKinds: ['packets'],
    model,
  };
  return new ServedModel(served, batchSize);
}

function batchOf(probabilities: readonly number[], change: Partial<FeatureBatch> = {}): FeatureBatch {
  return {
    schemaId: SCHEMA,
    sourceKind: 'packets',
    rows: probabilities.length,
    columns: 2,
    values: Float32Array.from(probabilities.flatMap((p, i) => [p, p < 0.5 ? -1 : i % 2])),
    rejected: [],
    ...change,
  };
}

interface Setup {
  readonly config?: Parameters<typeof readInferenceConfig>[0];
  readonly rule?: FallbackRule;
}

function scorerOf({ config = {}, rule }: Setup = {}): { scorer: Scorer; clock: ManualClock } {
  const clock = new ManualClock();
  return { scorer: new Scorer(readInferenceConfig({ batchSize: 4, ...config }), clock, rule), clock };
}

const failing = {
  score() {
    throw new RangeError('broken tree');
  },
};

suite('scoring', () => {
  test('gives one score a row, in order, over parts of the batch', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    const probabilities = [0.875, 0.125, 0.75, 0.25, 1, 0, 0.5];
    const scores = await scorer.score(batchOf(probabilities));
    assert.deepEqual(
      scores.map(({ probability, verdict, kind }) => [probability, verdict, kind]),
      [
        [0.875, 'attack', 'port-scan'],
        [0.125, 'benign', undefined],
        [0.75, 'attack', 'port-scan'],
        [0.25, 'benign', undefined],
        [1, 'attack', 'port-scan'],
        [0, 'benign', undefined],
        [0.5, 'attack', 'port-scan'],
      ],
    );
    assert.deepEqual(scores[0]?.topFeatures, [{ column: 'p', value: 0.875, contribution: 1 }]);
    assert.equal(scores[1]?.topFeatures, undefined);
    assert.deepEqual(scores[0]?.model, { name: 'flow', version: '1.0.0', digest: DIGEST });
  });

  test('answers an empty batch with nothing', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    assert.deepEqual(await scorer.score(batchOf([])), []);
  });

  test('measures confidence from the threshold and abstains below the one configured', async () => {
    const { scorer } = scorerOf({ config: { confidenceThreshold: 0.75 } });
    scorer.put(serve('1.0.0', { threshold: 0.25 }));
    const scores = await scorer.score(batchOf([0.125, 0, 0.25, 0.4375, 0.625, 1]));
    assert.deepEqual(
      scores.map(({ verdict, confidence }) => [verdict, confidence]),
      [
        ['benign', 0.75],
        ['benign', 1],
        ['abstain', 0.5],
        ['abstain', 0.625],
        ['attack', 0.75],
        ['attack', 1],
      ],
    );
    assert.match(scores[2]?.reason ?? '', /confidence 0\.500 is below 0\.75/);
  });

  test('abstains on a source kind the model was not trained on, and says so', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    const [score] = await scorer.score(batchOf([0.9], { sourceKind: 'zeek' }));
    assert.equal(score?.verdict, 'abstain');
    assert.match(score?.reason ?? '', /source kind zeek, only on: packets/);
  });

  test('abstains on rows the extractor rejected', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    const rejected = [{ row: 1, code: 'features.out-of-range', column: 'p' } as const];
    const scores = await scorer.score(batchOf([0.9, 0.9], { rejected }));
    assert.deepEqual(
      scores.map(({ verdict, reason }) => [verdict, reason]),
      [
        ['attack', undefined],
        ['abstain', 'features.out-of-range: p'],
      ],
    );
  });

  test('explains only so many rows of a part, so that a flood does not pay for each flow', async () => {
    const { scorer } = scorerOf({ config: { batchSize: 128 } });
    scorer.put(serve('1.0.0', {}, 128));
    const scores = await scorer.score(batchOf(new Array(100).fill(0.9)));
    assert.equal(scores.filter(({ topFeatures }) => topFeatures !== undefined).length, EXPLAINED_ROWS);
  });

  const refused: readonly (readonly [string, string, Partial<FeatureBatch>])[] = [
    ['another schema', 'inference.schema-mismatch', { schemaId: DIGEST }],
    ['too few columns', 'inference.bad-batch', { columns: 1 }],
    ['fewer values than declared', 'inference.bad-batch', { rows: 3 }],
    ['a fraction of a row', 'inference.bad-batch', { rows: 0.5 }],
    ['a negative number of rows', 'inference.bad-batch', { rows: -1 }],
    ['rows that are not a number', 'inference.bad-batch', { rows: Number.NaN }],
  ];
  for (const [name, code, change] of refused) {
    test(`refuses a batch of ${name}`, async () => {
      const { scorer } = scorerOf();
      scorer.put(serve('1.0.0'));
      await assert.rejects(scorer.score(batchOf([0.9, 0.1], change)), { code });
      assert.equal(scorer.stats.refused[code as 'inference.bad-batch'], 1);
    });
  }

  test('refuses where no model is loaded, by name or without', async () => {
    const { scorer } = scorerOf();
    await assert.rejects(scorer.score(batchOf([0.9])), { code: 'inference.no-model', retry: true });
    scorer.put(serve('1.0.0'));
    await assert.rejects(scorer.score(batchOf([0.9]), { model: 'web' }), { code: 'inference.no-model' });
    assert.equal((await scorer.score(batchOf([0.9]), { model: 'flow' })).length, 1);
  });
});

suite('columns', () => {
  test('say what the scores say, a row each', async () => {
    const { scorer } = scorerOf({ config: { confidenceThreshold: 0.75 } });
    scorer.put(serve('1.0.0'));
    const rejected = [{ row: 2, code: 'features.out-of-range', column: 'p' } as const];
    const batch = batchOf([0.875, 0.125, 0.75, 0.25, 1, 0, 0.5], { rejected });
    const scores = await scorer.score(batch);
    const columns = await scorer.scoreColumns(batch);
    assert.equal(columns.rows, 7);
    assert.deepEqual(columns.model, { name: 'flow', version: '1.0.0', digest: DIGEST });
    for (const [row, score] of scores.entries()) {
      assert.equal(columns.probability[row], score.probability);
      assert.equal(VERDICTS[columns.verdict[row] as number], score.verdict);
      assert.equal(columns.kinds[columns.kind[row] as number], score.kind);
      assert.equal(CERTIFICATE_STATES[columns.certificate[row] as number], score.certificate);
    }
    assert.deepEqual([...(columns.reasons ?? [])], [[2, 'features.out-of-range: p']]);
    assert.equal(columns.degraded, undefined);
  });

  test('name the stand-in of a model that failed', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    scorer.put(serve('2.0.0', failing));
    const { model, degraded, reasons } = await scorer.scoreColumns(batchOf([0.9]));
    assert.equal(model.version, '1.0.0');
    assert.match(degraded ?? '', /because flow@2\.0\.0 failed/);
    assert.equal(reasons, undefined);
  });
});

suite('a swap', () => {
  test('leaves requests that began before to the model they began with', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    const before = scorer.score(batchOf(new Array(9).fill(0.9)));
    scorer.put(serve('2.0.0'));
    const after = scorer.score(batchOf([0.9]));
    const versions = new Set((await before).map(({ model }) => model.version));
    assert.deepEqual([...versions], ['1.0.0']);
    assert.equal((await after)[0]?.model.version, '2.0.0');
    assert.equal(scorer.stats.swaps, 2);
  });
});

suite('under load', () => {
  test('refuses what is over the limit at once, and goes on afterwards', async () => {
    const { scorer } = scorerOf({ config: { maxConcurrentRequests: 2 } });
    scorer.put(serve('1.0.0'));
    const many = batchOf(new Array(9).fill(0.1));
    const running = [scorer.score(many), scorer.score(many)];
    await assert.rejects(scorer.score(many), {
      code: 'inference.overloaded',
      retry: true,
      category: 'resource',
    });
    await Promise.all(running);
    assert.equal((await scorer.score(many)).length, 9);
    const { requests, rows, refused, inFlight, latencyMs, verdicts } = scorer.stats;
    assert.deepEqual(
      { requests, rows, refused, inFlight },
      {
        requests: 4,
        rows: 27,
        refused: { 'inference.overloaded': 1 },
        inFlight: 0,
      },
    );
    assert.equal(verdicts.benign, 27);
    assert.equal(latencyMs.count, 3);
  });

  test('stops when the caller withdraws', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    const signal = AbortSignal.abort();
    await assert.rejects(scorer.score(batchOf([0.9]), { signal }), { code: 'inference.cancelled' });
  });

  /** Each part takes 10 ms of the clock. */
  function slow(config: Setup['config'], rule?: FallbackRule) {
    const { scorer, clock } = scorerOf({ config, ...(rule !== undefined && { rule }) });
    const model = fakeModel();
    scorer.put(
      serve('1.0.0', {
        score(values, rows, out) {
          clock.advance(10);
          model.score(values, rows, out);
        },
      }),
    );
    return scorer;
  }
  const six = batchOf(new Array(6).fill(0.9));

  test('abstains on the rows that the deadline left over', async () => {
    const scores = await slow({ fallbackStrategy: 'abstain' }).score(six, { deadlineMs: 5 });
    assert.deepEqual(
      scores.map(({ verdict }) => verdict),
      ['attack', 'attack', 'attack', 'attack', 'abstain', 'abstain'],
    );
    assert.match(scores[5]?.reason ?? '', /^degraded: the deadline passed after 4 of 6 rows/);
  });

  test('rejects the whole batch late where that is the strategy', async () => {
    const scorer = slow({ fallbackStrategy: 'reject', timeoutMs: 5 });
    await assert.rejects(scorer.score(six), { code: 'inference.timeout', retry: true });
  });

  test('lets the rule speak for late rows, and abstains where it is silent', async () => {
    const scorer = slow({ fallbackStrategy: 'rules', timeoutMs: 5 }, (_, row) =>
      row === 4 ? 'benign' : undefined,
    );
    const scores = await scorer.score(six);
    assert.equal(scores[4]?.verdict, 'benign');
    assert.match(scores[4]?.reason ?? '', /^degraded: by rule/);
    assert.equal(scores[5]?.verdict, 'abstain');
    assert.equal(scorer.stats.degraded, 2);
  });
});

suite('a model that fails', () => {
  test('is stood in for by the last known good one, for the whole batch, and says so', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0'));
    let parts = 0;
    const model = fakeModel();
    scorer.put(
      serve('2.0.0', {
        score(values, rows, out) {
          if (parts++ === 1) throw new RangeError('broken tree');
          model.score(values, rows, out);
        },
      }),
    );
    const scores = await scorer.score(batchOf(new Array(6).fill(0.9)));
    assert.equal(scores.length, 6);
    for (const score of scores) {
      assert.equal(score.model.version, '1.0.0');
      assert.match(
        score.reason ?? '',
        /degraded: scored by the last known good flow@1\.0\.0 because flow@2\.0\.0/,
      );
    }
    assert.equal(scorer.stats.degraded, 6);
  });

  test('is answered by abstaining where there is no other, or another schema', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0', { schemaId: DIGEST }));
    scorer.put(serve('2.0.0', failing));
    const [score] = await scorer.score(batchOf([0.9]));
    assert.equal(score?.verdict, 'abstain');
    assert.match(score?.reason ?? '', /^degraded: flow@2\.0\.0 failed/);
  });

  test('is answered by abstaining where the last known good one fails too', async () => {
    const { scorer } = scorerOf();
    scorer.put(serve('1.0.0', failing));
    scorer.put(serve('2.0.0', failing));
    const [score] = await scorer.score(batchOf([0.9]));
    assert.equal(score?.verdict, 'abstain');
  });

  test('makes an error where the strategy is to reject, with its cause', async () => {
    const { scorer } = scorerOf({ config: { fallbackStrategy: 'reject' } });
    scorer.put(serve('1.0.0', failing));
    await assert.rejects(
      scorer.score(batchOf([0.9])),
      (error: Error & { code?: string }) =>
        error.code === 'inference.model-failed' && error.cause instanceof RangeError,
    );
  });

  test('is noticed by a probability that is none', async () => {
    const { scorer } = scorerOf({ config: { fallbackStrategy: 'abstain' } });
    scorer.put(serve('1.0.0'));
    const [score] = await scorer.score(batchOf([Number.NaN]));
    assert.equal(score?.verdict, 'abstain');
    assert.match(score?.reason ?? '', /inference\.model-failed/);
  });
});

suite('a warm-up', () => {
  test('passes a sound model', () => serve('1.0.0').warmUp());

  const faulty: readonly (readonly [string, Partial<DetectionModel>])[] = [
    ['throws', failing],
    [
      'gives no probabilities',
      {
        score: (_, rows, out) => {
          out.probability.fill(2, 0, rows);
        },
      },
    ],
    [
      'cannot explain itself',
      {
        explain: () => {
          throw new RangeError('no means');
        },
      },
    ],
  ];
  for (const [name, change] of faulty) {
    test(`refuses a model that ${name}`, () => {
      assert.throws(() => serve('1.0.0', change).warmUp(), { code: 'inference.warm-up-failed' });
    });
  }
});

suite('the configuration of inference', () => {
  test('has a default for every field', () => {
    assert.deepEqual(readInferenceConfig(), {
      batchSize: 1024,
      batchWaitMs: 0,
      pool: 'threads',
      timeoutMs: 5000,
      confidenceThreshold: 0.5,
      maxConcurrentRequests: 64,
      fallbackStrategy: 'last-known-good',
      certificate: { windowRows: 1000, sampleEvery: 1, falseDiscoveryRate: 0.01, minPsi: 0.1 },
      provider: 'auto',
      gpuMemoryMiB: 512,
      onnx: { provider: 'auto', memoryBytes: 2 ** 30, threads: 1, niceness: 5, deadlineMs: 10_000 },
      modelMemoryBytes: 512 * 1024 * 1024,
      breaker: BREAKER_DEFAULTS,
      shadow: SHADOW_DEFAULTS,
      rollouts: [],
    });
  });

  const refused = [
    { batchSize: 0 },
    { timeoutMs: 0.5 },
    { confidenceThreshold: 0.4 },
    { maxConcurrentRequests: -1 },
    { fallbackStrategy: 'guess' },
    { batchsize: 3 },
  ];
  for (const config of refused) {
    test(`refuses ${JSON.stringify(config)}`, () => {
      assert.throws(() => readInferenceConfig(config as Parameters<typeof readInferenceConfig>[0]), {
        code: 'inference.config-invalid',
      });
    });
  }
});
