import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Digest, ManualClock } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import type { DetectionModel, ScoreBatchBuffers } from '../../models/index.ts';
import { readInferenceConfig } from '../config.ts';
import { Scorer } from '../scorer.ts';
import { ServedModel } from '../served-model.ts';

const SCHEMA: Digest = `sha256:${'a'.repeat(64)}`;

/** A batch that the runtime was asked to score, to be answered by the test. */
interface Asked {
  readonly rows: readonly number[];
  readonly signal: AbortSignal;
  /** The first column back as the probability. */
  answer(): Promise<void>;
  fail(): Promise<void>;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A model whose runtime answers when the test says so. */
function setUp(config: Parameters<typeof readInferenceConfig>[0] = {}) {
  const asked: Asked[] = [];
  const clock = new ManualClock();
  const score = (values: Float32Array, rows: number, out: ScoreBatchBuffers, signal?: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const probabilities = Array.from(values.subarray(0, rows));
      asked.push({
        rows: probabilities,
        signal: signal as AbortSignal,
        answer: async () => {
          out.probability.set(probabilities);
          resolve();
          await turn();
        },
        fail: async () => {
          reject(new RangeError('the process said no'));
          await turn();
        },
      });
    });
  const model: DetectionModel = {
    ...{ schemaId: SCHEMA, columnNames: ['p'], kinds: [], sourceKinds: ['packets'], threshold: 0.5 },
    score: () => assert.fail('the model itself is not asked'),
    explain: () => [],
  };
  const served = new ServedModel(
    {
      ...{ name: 'flow', version: '1.0.0', digest: SCHEMA, schemaId: SCHEMA, sourceKinds: ['packets'] },
      ...{ model, runtime: { kind: 'asynchronous', score } },
    },
    4,
  );
  const scorer = new Scorer(
    readInferenceConfig({ batchSize: 4, workers: 0, fallbackStrategy: 'abstain', ...config }),
    clock,
  );
  scorer.put(served);
  return { asked, clock, scorer };
}

function batchOf(...probabilities: number[]): FeatureBatch {
  const values = Float32Array.from(probabilities);
  return {
    ...{ schemaId: SCHEMA, sourceKind: 'packets', columns: 1, rejected: [] },
    rows: values.length,
    values,
  };
}

suite('batches of a runtime that answers later', () => {
  test('join the rows of several callers, who are answered apart', async () => {
    const { asked, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0.125));
    const others = [batchOf(0.25, 0.5), batchOf(0.75), batchOf(0.875)].map((batch) =>
      scorer.scoreColumns(batch),
    );
    await turn();
    assert.deepEqual(
      asked.map(({ rows }) => rows),
      [[0.125]],
    );
    await asked[0]?.answer();
    assert.deepEqual([...(await first).probability], [0.125]);
    assert.deepEqual(asked[1]?.rows, [0.25, 0.5, 0.75, 0.875]);
    await asked[1]?.answer();
    const answers = await Promise.all(others);
    assert.deepEqual(
      answers.map(({ probability }) => [...probability]),
      [[0.25, 0.5], [0.75], [0.875]],
    );
    assert.deepEqual(
      answers.map(({ verdict }) => [...verdict]),
      [[0, 1], [1], [1]],
    );
  });

  test('take the earliest deadline first', async () => {
    const { asked, scorer } = setUp();
    const answers = [
      scorer.scoreColumns(batchOf(0)),
      scorer.scoreColumns(batchOf(0.25, 0.25, 0.25), { deadlineMs: 4_000 }),
      scorer.scoreColumns(batchOf(0.5, 0.5, 0.5), { deadlineMs: 2_000 }),
      scorer.scoreColumns(batchOf(0.75, 0.75, 0.75), { deadlineMs: 3_000 }),
    ];
    await turn();
    for (let i = 0; i < 4; i++) await asked[i]?.answer();
    assert.deepEqual(
      asked.map(({ rows }) => rows[0]),
      [0, 0.5, 0.75, 0.25],
    );
    await Promise.all(answers);
  });

  test('let the bad rows of one caller harm no other', async () => {
    const { asked, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0));
    const bad = scorer.scoreColumns(batchOf(Number.NaN));
    const good = scorer.scoreColumns(batchOf(0.75));
    await turn();
    await asked[0]?.answer();
    assert.equal(asked[1]?.rows.length, 2);
    await asked[1]?.answer();
    assert.match((await bad).degraded ?? '', /inference\.model-failed/);
    assert.equal((await good).degraded, undefined);
    await first;
  });

  test('that fail together are tried alone', async () => {
    const { asked, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0));
    const [bad, good] = [scorer.scoreColumns(batchOf(0.25)), scorer.scoreColumns(batchOf(0.75))];
    await turn();
    await asked[0]?.answer();
    await asked[1]?.fail();
    assert.deepEqual(asked[2]?.rows, [0.25]);
    await asked[2]?.fail();
    assert.deepEqual(asked[3]?.rows, [0.75]);
    await asked[3]?.answer();
    assert.match((await bad).degraded ?? '', /failed \(no code\)/);
    assert.deepEqual([...(await good).probability], [0.75]);
    await first;
  });

  test('are withdrawn where nobody waits for them any longer, and only then', async () => {
    const { asked, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0));
    const [one, two] = [new AbortController(), new AbortController()];
    const answers = [one, two].map(({ signal }) => scorer.scoreColumns(batchOf(0.5), { signal }));
    await turn();
    await asked[0]?.answer();
    one.abort();
    await assert.rejects(answers[0] as Promise<unknown>, { code: 'inference.cancelled' });
    assert.equal(asked[1]?.signal.aborted, false);
    two.abort();
    await assert.rejects(answers[1] as Promise<unknown>, { code: 'inference.cancelled' });
    assert.equal(asked[1]?.signal.aborted, true);
    await asked[1]?.fail();
    await first;
    assert.equal(scorer.stats.inFlight, 0);
  });

  test('do not hold what a caller gave up while it waited', async () => {
    const { asked, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0));
    const gone = new AbortController();
    const answer = scorer.scoreColumns(batchOf(0.25), { signal: gone.signal });
    await turn();
    gone.abort();
    await assert.rejects(answer, { code: 'inference.cancelled' });
    await asked[0]?.answer();
    await first;
    assert.equal(asked.length, 1);
  });

  test('answer late what waited beyond its deadline', async () => {
    const { asked, clock, scorer } = setUp();
    const first = scorer.scoreColumns(batchOf(0), { deadlineMs: 4_000 });
    const late = scorer.scoreColumns(batchOf(0.25), { deadlineMs: 1_000 });
    await turn();
    clock.advance(2_000);
    await asked[0]?.answer();
    assert.match((await late).degraded ?? '', /deadline passed after 0 of 1 rows/);
    assert.equal((await first).degraded, undefined);
  });

  test('refuse on arrival what cannot be answered in time behind what waits', async () => {
    const { asked, clock, scorer } = setUp({ timeoutMs: 60_000 });
    const answers = [scorer.scoreColumns(batchOf(0, 0, 0, 0))];
    await turn();
    clock.advance(100);
    await asked[0]?.answer();
    for (let i = 0; i < 3; i++) answers.push(scorer.scoreColumns(batchOf(0.5, 0.5, 0.5, 0.5)));
    await turn();
    await assert.rejects(scorer.scoreColumns(batchOf(0.75), { deadlineMs: 50 }), {
      ...{ code: 'inference.overloaded', refusal: 'deadline', retry: true },
    });
    assert.equal(scorer.stats.shed.deadline, 1);
    for (let i = 1; i < 4; i++) await asked[i]?.answer();
    await Promise.all(answers);
  });

  test('answer a large batch in order, slice by slice', async () => {
    const { asked, scorer } = setUp();
    const probabilities = Array.from({ length: 10 }, (_, i) => i / 16);
    const answer = scorer.scoreColumns(batchOf(...probabilities));
    await turn();
    for (let i = 0; i < 3; i++) await asked[i]?.answer();
    assert.deepEqual([...(await answer).probability], probabilities);
    assert.deepEqual(
      asked.map(({ rows }) => rows.length),
      [4, 4, 2],
    );
  });
});
