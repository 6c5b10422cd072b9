import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { SeededRandom } from '../../base/index.ts';
import { Comparison, stabilityIndex } from './comparison.ts';
import { SourceShare } from './source-share.ts';

suite('a comparison', () => {
  test('counts rows by both verdicts', () => {
    const comparison = new Comparison({ champion: '1.0.0', candidate: '1.1.0' });
    for (const [ours, theirs] of [
      [0, 0],
      [0, 1],
      [1, 1],
      [2, 1],
    ] as const) {
      comparison.add(ours, theirs, 0.2, 0.3);
    }
    comparison.decided('champion', 4, 2);
    comparison.mirrored('candidate', 4, 3);
    comparison.failed('candidate', 'timeout');
    const report = comparison.report();
    assert.deepEqual(report.agreement, {
      benign: { benign: 1, attack: 1, abstain: 0 },
      attack: { benign: 0, attack: 1, abstain: 0 },
      abstain: { benign: 0, attack: 1, abstain: 0 },
    });
    assert.equal(report.agreed, 0.5);
    assert.equal(report.scorePsi, null);
    assert.deepEqual(report.candidate.errors, { timeout: 1 });
    assert.equal(report.champion.decidedRows, 4);
    assert.equal(report.candidate.mirroredRows, 4);
    assert.ok(Math.abs(report.candidate.latencyMs.p99 - 3) < 0.01);
  });

  test('says how far the scores of the two lie apart', () => {
    const random = new SeededRandom(20261123);
    const same = new Comparison({ champion: 'a', candidate: 'b' });
    const moved = new Comparison({ champion: 'a', candidate: 'b' });
    for (let i = 0; i < 5_000; i++) {
      const score = random.next() ** 2;
      same.add(0, 0, score, Math.min(1, score + random.uniform(0, 0.001)));
      moved.add(0, 0, score, Math.sqrt(score));
    }
    assert.ok((same.report().scorePsi as number) < 0.01);
    assert.ok((moved.report().scorePsi as number) > 0.2);
  });

  test('gives an index of none to equal distributions', () => {
    assert.equal(stabilityIndex(Float64Array.of(5, 0, 5), Float64Array.of(5, 0, 5)), 0);
  });
});

suite('a share of the sources', () => {
  const KEY = Buffer.alloc(16, 7);
  const sources = Array.from({ length: 10_000 }, (_, i) => `198.51.${i >> 8}.${i & 255}`);

  test('has the size that was asked for, within chance', () => {
    for (const percent of [1, 10, 50]) {
      const share = new SourceShare(KEY, percent);
      const found = sources.filter((source) => share.includes(source)).length / 100;
      // Four standard deviations of a binomial share of 10,000.
      assert.ok(Math.abs(found - percent) < (4 * Math.sqrt(percent * (100 - percent))) / 100, `${found}`);
    }
  });

  test('keeps each source on its side, and those it had where it grows', () => {
    const [small, again, large] = [5, 5, 50].map((percent) => new SourceShare(KEY, percent));
    for (const source of sources.slice(0, 1_000)) {
      const isIn = small?.includes(source);
      assert.equal(again?.includes(source), isIn);
      if (isIn) assert.ok(large?.includes(source));
    }
  });

  test('is another one under another key, is everything at 100 percent, and has nobody without a name', () => {
    const [one, other] = [KEY, Buffer.alloc(16, 8)].map((key) => new SourceShare(key, 50));
    const differing = sources.filter((source) => one?.includes(source) !== other?.includes(source));
    assert.ok(differing.length > 4_000);
    const all = new SourceShare(KEY, 100);
    assert.ok(sources.every((source) => all.includes(source)));
    assert.equal(all.includes(undefined), false);
  });
});
