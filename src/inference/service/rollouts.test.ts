import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Digest, ManualClock } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import type { DetectionModel, ScoreBatchBuffers } from '../../models/index.ts';
import type { VerifiedModel } from '../../registry/index.ts';
import { readInferenceConfig } from '../config.ts';
import { Scorer } from '../scorer.ts';
import { ServedModel } from '../served-model.ts';
import { type ModelHealthChange, ModelService } from './model-service.ts';
import type { RolloutReport, RolloutTerms } from './rollout.ts';

const SCHEMA: Digest = `sha256:${'a'.repeat(64)}`;
const KEY = Buffer.alloc(16, 3);

/** Gives the first column back, moved by `shift`. */
function fakeModel(shift: number, change: Partial<DetectionModel>): DetectionModel {
  return {
    schemaId: SCHEMA,
    columnNames: ['p'],
    kinds: [],
    sourceKinds: ['packets'],
    threshold: 0.5,
    score(values: Float32Array, rows: number, out: ScoreBatchBuffers) {
      for (let i = 0; i < rows; i++) out.probability[i] = (values[i] as number) + shift;
    },
    explain: () => [],
    ...change,
  };
}

function batchOf(...values: readonly number[]): FeatureBatch {
  return {
    schemaId: SCHEMA,
    sourceKind: 'packets',
    rows: values.length,
    columns: 1,
    values: Float32Array.from(values),
    rejected: [],
  };
}

/** An engine's inner parts with made-up models, a clock that stands still and work that waits to be run. */
function setUp(config: Parameters<typeof readInferenceConfig>[0] = {}) {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const all = readInferenceConfig(config);
  const later: (() => void)[] = [];
  const health: ModelHealthChange[] = [];
  const ends: RolloutReport[] = [];
  const models: ModelService = new ModelService({
    config: all,
    clock,
    served: () => scorer.served(),
    drained: () => scorer.waves.drained(),
    random: () => 0.5,
    later: (work) => later.push(work),
    noteHealth: (change) => health.push(change),
    noteRolloutEnd: (report) => ends.push(report),
  });
  const scorer = new Scorer(all, clock, undefined, models);
  const keep = (version: string, shift = 0, change: Partial<DetectionModel> = {}): ServedModel => {
    const model = fakeModel(shift, change);
    const digest: Digest = `sha256:${version.replaceAll('.', '').padStart(64, '0')}`;
    const { schemaId, sourceKinds } = model;
    const served = new ServedModel({ name: 'flow', version, digest, schemaId, sourceKinds, model }, 4);
    models.guard(served);
    models.keep(served, { model } as VerifiedModel);
    return served;
  };
  const start = (version: string, terms: Partial<RolloutTerms> = {}) =>
    models.startRollout('flow', version, { kind: 'shadow', startedBy: 'ada', key: KEY, ...terms });
  const drain = async () => {
    while (later.length > 0) {
      later.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const report = () => models.rollouts.report('flow') as RolloutReport;
  return { clock, scorer, models, health, ends, keep, start, drain, report };
}

const broken = {
  score() {
    throw new RangeError('broken tree');
  },
};

suite('a shadow', () => {
  test('never decides, and is compared on every row that the champion answered', async () => {
    const { scorer, keep, start, drain, report } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0', 0.3);
    start('1.1.0');
    for (let i = 0; i < 3; i++) {
      const scores = await scorer.score(batchOf(0.1, 0.3, 0.6, 0.7), { source: `host ${i}` });
      assert.deepEqual(
        scores.map(({ verdict, model }) => [verdict, model.version]),
        ['benign', 'benign', 'attack', 'attack'].map((verdict) => [verdict, '1.0.0']),
      );
    }
    await drain();
    const { agreement, agreed, comparedRows, champion, candidate, percent } = report();
    assert.equal(percent, null);
    assert.equal(comparedRows, 12);
    assert.deepEqual(agreement.benign, { benign: 3, attack: 3, abstain: 0 });
    assert.deepEqual(agreement.attack, { benign: 0, attack: 6, abstain: 0 });
    assert.equal(agreed, 0.75);
    assert.deepEqual([champion.decidedRows, candidate.decidedRows, candidate.mirroredRows], [12, 0, 12]);
  });

  test('that fails is taken out, while the champion answers every request whole', async () => {
    const { scorer, keep, start, drain, report, ends, health } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0', 0, broken);
    start('1.1.0');
    for (let i = 0; i < 20; i++) {
      const [score] = await scorer.score(batchOf(0.9));
      assert.equal(score?.reason, undefined);
      await drain();
    }
    assert.equal(report().endedBecause, 'candidate-failed');
    assert.deepEqual(report().candidate.errors, { 'model-error': 10 });
    assert.equal(ends.length, 1);
    assert.deepEqual(
      health.map(({ model, to }) => [model.version, to]),
      [['1.1.0', 'open']],
    );
    assert.equal(scorer.stats.degraded, 0);
  });

  test('that answers corrupt rows is withdrawn', async () => {
    const { scorer, keep, start, drain, report, health } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0', Number.NaN);
    start('1.1.0');
    for (let i = 0; i < 3; i++) {
      await scorer.score(batchOf(0.9));
      await drain();
    }
    assert.deepEqual([health[0]?.to, health[0]?.cause], ['withdrawn', 'corrupt-output']);
    assert.equal(report().endedBecause, 'candidate-failed');
  });

  test('that is too slow drops rows and delays nobody', async () => {
    const { scorer, keep, start, clock, drain, report } = setUp({ shadow: { queueRows: 4 } });
    scorer.put(keep('1.0.0'));
    keep('1.1.0', 0, {
      score(_: Float32Array, rows: number, out: ScoreBatchBuffers) {
        clock.advance(100);
        out.probability.fill(0, 0, rows);
      },
    });
    start('1.1.0');
    for (let i = 0; i < 5; i++) {
      const before = clock.monotonic();
      await scorer.score(batchOf(0.1, 0.2));
      assert.equal(clock.monotonic(), before);
    }
    await drain();
    assert.equal(report().comparedRows, 4);
    assert.equal(report().droppedRows, 6);
    assert.ok(report().candidate.latencyMs.p99 >= 99);
  });

  test('is not compared while the machine is short of something', async () => {
    const { scorer, keep, start, models, drain, report } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0');
    start('1.1.0');
    models.rollouts.pause(true);
    await scorer.score(batchOf(0.1));
    models.rollouts.pause(false);
    await scorer.score(batchOf(0.1));
    await drain();
    assert.deepEqual([report().comparedRows, report().droppedRows], [1, 1]);
  });

  test('does not count rows that the schema refused', async () => {
    const { scorer, keep, start, drain, report } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0');
    start('1.1.0');
    const rejected = [{ row: 0, code: 'features.value-invalid', column: 'p' }] as never;
    const scores = await scorer.score({ ...batchOf(0.9, 0.9), rejected });
    assert.equal(scores[0]?.verdict, 'abstain');
    await drain();
    assert.equal(report().agreed, 1);
  });
});

suite('a canary', () => {
  const sources = Array.from({ length: 200 }, (_, i) => `192.0.2.${i}`);

  test('decides for its share of the sources, and for the same ones each time', async () => {
    const { scorer, keep, start, drain, report } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0', 0.3);
    start('1.1.0', { kind: 'canary', percent: 25 });
    const decided = async () => {
      const versions: (string | undefined)[] = [];
      for (const source of sources) {
        versions.push((await scorer.score(batchOf(0.4), { source }))[0]?.model.version);
      }
      return versions;
    };
    const first = await decided();
    assert.deepEqual(await decided(), first);
    const share = first.filter((version) => version === '1.1.0').length;
    assert.ok(share > 30 && share < 70, `${share} of 200`);
    await drain();
    const { candidate, champion, agreement, comparedRows } = report();
    assert.equal(candidate.decidedRows, 2 * share);
    // Whichever did not decide was shown the row: the two are compared on all of them.
    assert.equal(comparedRows, 400);
    assert.equal(agreement.benign.attack, 400);
    assert.equal(candidate.mirroredRows + champion.mirroredRows, 400);
  });

  test('leaves those without a source, and those who name a version, to whom they asked', async () => {
    const { scorer, keep, start } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0');
    start('1.1.0', { kind: 'canary', percent: 100 });
    const version = async (options: object) => (await scorer.score(batchOf(0.4), options))[0]?.model.version;
    assert.equal(await version({ source: 'a' }), '1.1.0');
    assert.equal(await version({}), '1.0.0');
    assert.equal(await version({ source: 'a', version: '1.0.0' }), '1.0.0');
    assert.equal(await version({ version: '1.1.0' }), '1.1.0');
    await assert.rejects(version({ version: '1.2.0' }), { code: 'inference.no-model' });
  });

  for (const fallbackStrategy of ['last-known-good', 'rules', 'abstain', 'reject'] as const) {
    test(`that errs costs nobody an answer under ${fallbackStrategy}, and is taken out`, async () => {
      const { scorer, keep, start, report } = setUp({ fallbackStrategy });
      scorer.put(keep('1.0.0'));
      keep('1.1.0', 0, broken);
      start('1.1.0', { kind: 'canary', percent: 100 });
      for (let i = 0; i < 12; i++) {
        const [score] = await scorer.score(batchOf(0.9), { source: 'a' });
        assert.deepEqual(
          [score?.model.version, score?.verdict, score?.reason],
          ['1.0.0', 'attack', undefined],
        );
      }
      assert.equal(report().endedBecause, 'candidate-failed');
      assert.equal(report().candidate.errors['model-error'], 10);
      assert.equal(scorer.stats.degraded, 0);
    });
  }

  test('ends when another champion takes the place, and when the model is unloaded', () => {
    const { scorer, keep, start, models, report, ends } = setUp();
    scorer.put(keep('1.0.0'));
    keep('1.1.0');
    start('1.1.0', { kind: 'canary', percent: 10 });
    const again = keep('1.0.0');
    scorer.put(again);
    models.rollouts.championMoved(again);
    assert.equal(report().endedBecause, null);
    const next = keep('1.2.0');
    scorer.put(next);
    models.rollouts.championMoved(next);
    assert.equal(report().endedBecause, 'champion-moved');
    start('1.1.0');
    models.drop('flow');
    assert.equal(report().endedBecause, 'unloaded');
    assert.equal(models.find('flow', '1.1.0'), undefined);
    assert.equal(ends.length, 2);
  });
});

suite('what may not run beside a champion', () => {
  test('is the champion itself, a second rollout, another schema, fewer source kinds, and what is not at hand', () => {
    const { scorer, keep, start, models } = setUp();
    scorer.put(keep('1.0.0', 0, { sourceKinds: ['packets', 'zeek'] }));
    keep('1.1.0');
    keep('1.2.0', 0, { schemaId: `sha256:${'c'.repeat(64)}` });
    keep('1.3.0', 0, { sourceKinds: ['zeek', 'packets'] });
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) {
      assert.throws(() => start(version), { code: 'inference.rollout-refused' }, version);
    }
    assert.throws(() => start('1.4.0'), { code: 'inference.no-model' });
    start('1.3.0');
    assert.throws(() => start('1.3.0'), { code: 'inference.rollout-refused' });
    assert.equal(models.rollouts.end('flow', 'stopped')?.endedBecause, 'stopped');
    assert.equal(models.rollouts.end('flow', 'stopped'), undefined);
    start('1.3.0');
  });
});

suite('a model that fails again and again', () => {
  test('is not asked while its breaker is open; the one before answers, and says so', async () => {
    const { scorer, keep, clock, health } = setUp();
    let isBroken = true;
    let asked = 0;
    scorer.put(keep('1.0.0'));
    scorer.put(
      keep('1.1.0', 0, {
        score(values: Float32Array, rows: number, out: ScoreBatchBuffers) {
          asked++;
          if (isBroken) throw new RangeError('broken tree');
          out.probability.set(values.subarray(0, rows));
        },
      }),
    );
    for (let i = 0; i < 15; i++) {
      const [score] = await scorer.score(batchOf(0.9));
      assert.equal(score?.model.version, '1.0.0');
      assert.match(score?.reason ?? '', /^degraded: scored by the last known good flow@1.0.0/);
    }
    assert.equal(asked, 10);
    const [score] = await scorer.score(batchOf(0.9));
    assert.match(score?.reason ?? '', /flow@1.1.0 is not asked \(model-error\)/);
    isBroken = false;
    clock.advance(5_000);
    assert.equal((await scorer.score(batchOf(0.9)))[0]?.model.version, '1.1.0');
    assert.deepEqual(
      health.map(({ to }) => to),
      ['open', 'half-open', 'closed'],
    );
  });

  test('is refused with a time to try again, by rule or by abstaining, as configured', async () => {
    const rejecting = setUp({ fallbackStrategy: 'reject' });
    rejecting.scorer.put(rejecting.keep('1.0.0', 0, broken));
    for (let i = 0; i < 10; i++) {
      await assert.rejects(rejecting.scorer.score(batchOf(0.9)), { code: 'inference.model-failed' });
    }
    rejecting.clock.advance(1_000);
    await assert.rejects(rejecting.scorer.score(batchOf(0.9)), {
      code: 'inference.breaker-open',
      retryAfterMs: 4_000,
    });
    const abstaining = setUp({ fallbackStrategy: 'abstain' });
    abstaining.scorer.put(abstaining.keep('1.0.0', 0, broken));
    for (let i = 0; i < 11; i++) {
      const [score] = await abstaining.scorer.score(batchOf(0.9));
      assert.equal(score?.verdict, 'abstain');
    }
  });

  test('is withdrawn when its outputs are corrupt, and comes back only by a new load', async () => {
    const { scorer, keep, clock, health } = setUp();
    scorer.put(keep('1.0.0'));
    scorer.put(keep('1.1.0', 7));
    for (let i = 0; i < 5; i++) await scorer.score(batchOf(0.9));
    clock.advance(3_600_000);
    assert.equal((await scorer.score(batchOf(0.9)))[0]?.model.version, '1.0.0');
    assert.deepEqual(
      health.map(({ model, to, cause }) => [model.version, to, cause]),
      [['1.1.0', 'withdrawn', 'corrupt-output']],
    );
    scorer.put(keep('1.1.0'));
    assert.equal((await scorer.score(batchOf(0.9)))[0]?.model.version, '1.1.0');
  });

  test('is not taken out for rows with missing values that it cannot score, but waits like any other', async () => {
    const { scorer, keep, health } = setUp();
    scorer.put(keep('1.0.0'));
    for (let i = 0; i < 9; i++) await scorer.score(batchOf(Number.NaN));
    assert.equal(health.length, 0);
    await scorer.score(batchOf(Number.NaN));
    assert.deepEqual([health[0]?.to, health[0]?.cause], ['open', 'model-error']);
  });

  test('is blamed for its own time, and not for a deadline that a caller made short', async () => {
    const { scorer, keep, clock, health } = setUp({ timeoutMs: 1_000, batchSize: 1 });
    let cost = 10;
    scorer.put(
      keep('1.0.0', 0, {
        score(_: Float32Array, rows: number, out: ScoreBatchBuffers) {
          clock.advance(cost);
          out.probability.fill(0, 0, rows);
        },
      }),
    );
    for (let i = 0; i < 20; i++) await scorer.score(batchOf(0.1, 0.2, 0.3), { deadlineMs: 1 });
    assert.equal(health.length, 0);
    cost = 2_000;
    clock.advance(10_000);
    for (let i = 0; i < 10; i++) await scorer.score(batchOf(0.1, 0.2));
    assert.deepEqual([health[0]?.to, health[0]?.cause], ['open', 'timeout']);
  });
});

suite('models at hand', () => {
  test('are closed when they go, and not before the requests that ran have ended', async () => {
    const { scorer, keep, models } = setUp();
    const closed: string[] = [];
    const keepClosing = (version: string): ServedModel => {
      const served = keep(version);
      served.runtime.close = async () => {
        closed.push(version);
      };
      return served;
    };
    scorer.put(keepClosing('1.0.0'));
    scorer.put(keepClosing('1.1.0'));
    keepClosing('1.2.0');
    const request = scorer.waves.enter();
    models.limitMemory(0);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(closed, []);
    scorer.waves.leave(request);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(closed, ['1.2.0']);
    scorer.remove('flow');
    models.drop('flow');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(closed.sort(), ['1.0.0', '1.1.0', '1.2.0']);
  });

  test('go when memory is short, but for those that serve, stand by or run beside the champion', () => {
    const { scorer, keep, start, models } = setUp();
    scorer.put(keep('1.0.0'));
    scorer.put(keep('1.1.0'));
    for (const version of ['1.2.0', '1.3.0', '1.4.0']) keep(version);
    start('1.3.0');
    models.limitMemory(0);
    const versions = ['1.0.0', '1.1.0', '1.2.0', '1.3.0', '1.4.0'];
    assert.deepEqual(
      versions.filter((version) => models.find('flow', version) !== undefined),
      ['1.0.0', '1.1.0', '1.3.0'],
    );
    const { hits, misses, evictions, models: count } = models.cacheStats;
    assert.deepEqual({ hits, misses, evictions, count }, { hits: 3, misses: 2, evictions: 2, count: 3 });
  });
});
