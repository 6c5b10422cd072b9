import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SeededRandom } from '../base/index.ts';
import { auc, midranks } from './auc.ts';
import { ModelError } from './errors.ts';
import { clopperPearsonUpper, decisionsNeeded, wilson } from './intervals.ts';
import { binaryMetrics, kindMetrics } from './metrics.ts';
import { incompleteBeta, inverseIncompleteBeta, logGamma } from './special-functions.ts';

function near(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not within ${tolerance} of ${expected}`);
}

test('logGamma knows the factorials and Gamma(1/2)', () => {
  let logFactorial = 0;
  for (let n = 1; n < 150; n++) {
    near(logGamma(n), logFactorial, 1e-11 * Math.max(1, logFactorial));
    logFactorial += Math.log(n);
  }
  near(logGamma(0.5), Math.log(Math.sqrt(Math.PI)), 1e-13);
  near(logGamma(0.25), 1.2880225246980774, 1e-13);
});

test('the incomplete beta function sums binomial tails', () => {
  for (const [n, k, p] of [
    [10, 3, 0.2],
    [25, 20, 0.7],
    [60, 1, 0.01],
  ] as const) {
    let tail = 0;
    for (let i = k; i <= n; i++) {
      const choose = logGamma(n + 1) - logGamma(i + 1) - logGamma(n - i + 1);
      tail += Math.exp(choose + i * Math.log(p) + (n - i) * Math.log(1 - p));
    }
    near(incompleteBeta(p, k, n - k + 1), tail, 1e-11);
  }
  assert.equal(incompleteBeta(0, 2, 3), 0);
  assert.equal(incompleteBeta(1, 2, 3), 1);
});

test('its inverse undoes it', () => {
  const positive = fc.double({ min: 1, max: 500, noNaN: true });
  fc.assert(
    fc.property(positive, positive, fc.double({ min: 0.01, max: 0.99, noNaN: true }), (a, b, p) => {
      near(incompleteBeta(inverseIncompleteBeta(p, a, b), a, b), p, 1e-8);
    }),
    { numRuns: 200 },
  );
  assert.equal(inverseIncompleteBeta(0, 1, 1), 0);
  assert.equal(inverseIncompleteBeta(1, 1, 1), 1);
});

test('an error rate of 1e-5 needs 299,573 decisions without an error, 474,386 with one, 629,579 with two', () => {
  // These are the Poisson figures; the exact binomial ones lie up to three decisions below.
  for (const [errors, n] of [
    [0, 299_573],
    [1, 474_386],
    [2, 629_579],
  ] as const) {
    const bound = clopperPearsonUpper(errors, n);
    assert.ok(bound <= 1e-5 && bound > 0.99999e-5, `${errors}: ${bound}`);
    const needed = decisionsNeeded(errors, 1e-5);
    assert.ok(needed <= n && n - needed <= 3, `${errors}: ${needed}`);
    assert.ok(clopperPearsonUpper(errors, needed - 1) > 1e-5);
  }
});

test('Clopper-Pearson agrees with the closed form for no errors, and is 1 for all', () => {
  for (const n of [1, 10, 1000]) near(clopperPearsonUpper(0, n), 1 - 0.05 ** (1 / n), 1e-12);
  assert.equal(clopperPearsonUpper(5, 5), 1);
  assert.equal(clopperPearsonUpper(0, 0), 1);
  // R: binom.test(3, 50, alternative = "less")$conf.int
  near(clopperPearsonUpper(3, 50), 0.1479, 5e-4);
});

test('counts and levels out of range are refused', () => {
  const bad = [
    () => clopperPearsonUpper(3, 2),
    () => clopperPearsonUpper(1, 2, 1),
    () => wilson(-1, 2),
    () => wilson(0.5, 2),
    () => decisionsNeeded(0, 0),
    () => binaryMetrics([0.5], [], 0.5),
  ];
  for (const call of bad) assert.throws(call, ModelError);
});

test('the Wilson interval has its published ends', () => {
  const { value, low, high } = wilson(81, 263);
  near(value, 0.308, 5e-4);
  near(low, 0.2553, 1e-4);
  near(high, 0.3662, 1e-4);
  assert.deepEqual(wilson(0, 0), { value: 0, low: 0, high: 1 });
  assert.equal(wilson(0, 9).low, 0);
  assert.equal(wilson(9, 9).high, 1);
});

test('midranks share the ranks of ties', () => {
  assert.deepEqual([...midranks(Float64Array.of(3, 1, 3, 2))], [3.5, 1, 3.5, 2]);
});

test('the AUC equals the share of pairs in order, ties counting half', () => {
  const random = new SeededRandom(5);
  const labels = Array.from({ length: 200 }, () => random.integer(0, 1));
  const scores = labels.map((label) => random.integer(0, 20) + 3 * label);
  let pairs = 0;
  let ordered = 0;
  labels.forEach((a, i) => {
    labels.forEach((b, j) => {
      if (a !== 1 || b !== 0) return;
      pairs++;
      const [x, y] = [scores[i] as number, scores[j] as number];
      ordered += x > y ? 1 : x === y ? 0.5 : 0;
    });
  });
  const { value, low, high } = auc(scores, labels);
  near(value, ordered / pairs, 1e-12);
  assert.ok(low < value && value < high);
  assert.deepEqual(auc([1, 2], [1, 1]), { value: 0.5, low: 0, high: 1 });
  assert.deepEqual(auc([1, 2], [0, 1]), { value: 1, low: 1, high: 1 });
});

test('the DeLong interval covers the true AUC about 95 times of 100', () => {
  const random = new SeededRandom(6);
  let covered = 0;
  for (let trial = 0; trial < 300; trial++) {
    const labels = Array.from({ length: 200 }, (_, i) => i % 2);
    const { low, high } = auc(
      labels.map((label) => random.normal(label)),
      labels,
    );
    // Two normals one deviation apart: Phi(1 / sqrt 2).
    if (low <= 0.7602499 && 0.7602499 <= high) covered++;
  }
  assert.ok(covered >= 273 && covered <= 297, `${covered} of 300`);
});

test('metrics at a threshold are those of the confusion', () => {
  const m = binaryMetrics([0.9, 0.5, 0.4, 0.6, 0.1], [1, 1, 1, 0, 0], 0.5);
  assert.deepEqual(m.confusion, { truePositives: 2, falsePositives: 1, trueNegatives: 1, falseNegatives: 1 });
  near(m.accuracy.value, 3 / 5, 0);
  near(m.precision.value, 2 / 3, 0);
  near(m.recall.value, 2 / 3, 0);
  near(m.fpr.value, 1 / 2, 0);
  near(m.f1.value, 2 / 3, 1e-15);
  for (const { value, low, high } of [m.accuracy, m.precision, m.recall, m.fpr, m.f1]) {
    assert.ok(low <= value && value <= high && low >= 0 && high <= 1);
  }
});

test('each kind has its detection, and its naming where the model names it', () => {
  const [flood, tunnel, ...none] = kindMetrics({
    probability: [0.9, 0.2, 0.8, 0.7],
    kind: [0, -1, 0, -1],
    kinds: ['flood'],
    labels: [1, 1, 0, 1],
    typeIndex: [1, 1, 0, 2],
    typeNames: ['benign', 'flood', 'tunnel', 'absent'],
    threshold: 0.5,
  });
  assert.equal(none.length, 0);
  assert.equal(flood?.rows, 2);
  assert.equal(flood?.detected.value, 0.5);
  assert.equal(flood?.precision?.value, 0.5);
  assert.equal(flood?.recall?.value, 0.5);
  assert.equal(tunnel?.detected.value, 1);
  assert.equal(tunnel?.precision, undefined);
});
