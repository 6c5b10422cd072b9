import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { type CertifyOptions, certify, describeClaim } from './certify.ts';
import { ModelError } from './errors.ts';

/** Rows given as [probability, label, how many]. */
function rows(...groups: readonly (readonly [number, number, number])[]) {
  const probability = groups.flatMap(([p, , n]) => Array<number>(n).fill(p));
  const labels = groups.flatMap(([, label, n]) => Array<number>(n).fill(label));
  return { probability, labels, origin: 'site' as const };
}

const LOOSE: Partial<CertifyOptions> = { target: 0.01, thresholds: [0.99, 0.9, 0.5] };

test('too few decisions are refused, and it is said how many are wanting', () => {
  const input = rows([0.99999, 1, 1000], [0.1, 0, 1000]);
  const c = certify({ ...input, planning: input });
  assert.equal(c.status, 'refused');
  assert.equal(c.target, 1e-5);
  assert.equal(c.accepted, 1000);
  assert.ok(Math.abs((c.wanting ?? 0) - 298_573) <= 3);
  assert.match(c.reason, /wanting/);
});

test('thresholds are tested from the strictest until one fails', () => {
  const c = certify(rows([0.995, 1, 400], [0.95, 1, 400], [0.6, 0, 100], [0.1, 0, 100]), LOOSE);
  assert.equal(c.status, 'site');
  assert.equal(c.threshold, 0.9);
  assert.equal(c.accepted, 800);
  assert.equal(c.errors, 0);
  assert.equal(c.coverage, 0.8);
  assert.ok(c.bound <= 0.01);
  assert.equal(c.wanting, undefined);
});

test('nothing is tested after a failure, even where a laxer threshold would pass', () => {
  const c = certify(rows([0.995, 0, 1], [0.95, 1, 100_000]), LOOSE);
  assert.equal(c.status, 'refused');
  assert.equal(c.threshold, 0.99);
});

test('all thresholds may pass, and the origin becomes the status', () => {
  const c = certify({ ...rows([0.999, 1, 1000]), origin: 'lab' }, LOOSE);
  assert.equal(c.status, 'lab');
  assert.equal(c.threshold, 0.5);
});

test('letting pass is certified by itself: an attack among it is the error', () => {
  const input = rows([0.001, 0, 1000], [0.002, 1, 1]);
  const allow = certify(input, { ...LOOSE, side: 'allow' });
  assert.equal(allow.status, 'site');
  assert.equal(allow.errors, 1);
  assert.equal(certify(input, LOOSE).accepted, 0);
});

test('an empty calibration set is refused, and wrong arguments are an error', () => {
  assert.equal(certify(rows(), LOOSE).status, 'refused');
  assert.throws(() => certify({ ...rows([1, 1, 1]), labels: [] }), ModelError);
  assert.throws(() => certify(rows(), { thresholds: [] }), ModelError);
  assert.throws(() => certify(rows(), { thresholds: [0.5, 0.9] }), ModelError);
});

/** Rows whose decisions are wrong with the probability that `errorOf` gives for a confidence uniform in [0.5, 1). */
function draw(random: SeededRandom, n: number, errorOf: (sure: number) => number) {
  const probability = Float64Array.from({ length: n }, () => random.uniform(0.5, 1));
  const labels = Uint8Array.from(probability, (p) => (random.chance(errorOf(p)) ? 0 : 1));
  return { probability, labels, origin: 'lab' as const };
}

test('a threshold with too few decisions is not the first one tested', () => {
  const random = new SeededRandom(1);
  const input = draw(random, 20_000, (p) => (p > 0.8 ? 0 : 0.2));
  // 2,995 decisions without an error are needed; above 0.9999 there are about two.
  const fixed = certify(input, { target: 1e-3, thresholds: [0.9999, 0.9, 0.8] });
  assert.equal(fixed.status, 'refused');
  const planned = certify(input, { target: 1e-3 });
  assert.equal(planned.status, 'lab');
  assert.ok(planned.threshold > 0.79 && planned.threshold < 0.84, `${planned.threshold}`);
  assert.ok(planned.accepted > 2_995 && planned.bound <= 1e-3);
  assert.ok(planned.accuracy > 0.85 && planned.accuracy < 0.9);
});

test('the sequence begins where the rows it is planned on make a pass likeliest', () => {
  // One in fifty of the surest decisions is wrong; taken with the others they do not matter.
  const law = (p: number) => (p > 0.995 ? 0.02 : 0);
  const random = new SeededRandom(6);
  const input = draw(random, 100_000, law);
  const strictest = certify(input, { target: 1e-3, thresholds: [0.96, 0.9, 0.8, 0.6] });
  assert.equal(strictest.status, 'refused');
  assert.equal(certify({ ...input, planning: draw(random, 50_000, law) }, { target: 1e-3 }).status, 'lab');
});

test('rows given to plan on cost none of the others', () => {
  const random = new SeededRandom(2);
  const input = draw(random, 4_000, () => 0);
  assert.equal(certify(input, { target: 1e-3 }).accepted < 4_000, true);
  const planning = draw(random, 500, () => 0);
  assert.equal(certify({ ...input, planning }, { target: 1e-3 }).accepted, 4_000);
});

test('a curve drawn through the scores changes neither the decisions nor the bound', () => {
  const input = draw(new SeededRandom(3), 20_000, (p) => 1 - p);
  const bent = Float64Array.from(input.probability, (p) => (p < 0.5 ? p : 0.5 + 2 * (p - 0.5) ** 2));
  const [a, b] = [input, { ...input, probability: bent }].map((each) => certify(each, { target: 0.05 }));
  assert.deepEqual([a?.accepted, a?.errors, a?.bound], [b?.accepted, b?.errors, b?.bound]);
});

test('the guarantee holds where strict decisions are worse than lax ones', () => {
  // Where skipping after counting would pick the lucky cases: the true error at the strict end is twice the target.
  const random = new SeededRandom(4);
  const target = 0.02;
  let wrong = 0;
  for (let i = 0; i < 200; i++) {
    const c = certify(
      draw(random, 700, (p) => (p > 0.9 ? 2 * target : 0.01)),
      { target, seed: i },
    );
    // Above 0.9 each certificate is false; below, the lax decisions outweigh the strict ones where t < 0.833.
    if (c.status !== 'refused' && c.threshold > 0.84) wrong++;
  }
  assert.ok(wrong <= 200 * 0.05 + 3 * Math.sqrt(200 * 0.05 * 0.95), `${wrong} of 200`);
});

test('false certificates are at most one in twenty', () => {
  const random = new SeededRandom(5);
  let wrong = 0;
  for (let i = 0; i < 200; i++) {
    // True error at confidence t or above: (1 - t) / 2 times 0.2, which is the target at 0.9.
    const c = certify(
      draw(random, 3_000, (p) => 0.2 * (1 - p)),
      { target: 0.01, seed: i },
    );
    if (c.status !== 'refused' && 0.1 * (1 - c.threshold) > 0.01) wrong++;
  }
  assert.ok(wrong <= 200 * 0.05, `${wrong} of 200`);
});

test('a refusal tells what lacks least, and its numbers stand together', () => {
  const input = rows([0.999, 1, 500], [0.9, 0, 20], [0.8, 1, 500]);
  const c = certify({ ...input, planning: input, origin: 'public' }, { target: 1e-3 });
  assert.deepEqual([c.status, c.threshold, c.accepted, c.errors], ['refused', 0.999, 500, 0]);
  assert.equal(c.wanting, 2_995 - 500);
  const text = describeClaim(c);
  for (const part of [
    '0 errors in 500 decisions',
    'coverage 49.0 %',
    'at most',
    'accuracy without abstaining 98.04 %',
  ]) {
    assert.ok(text.includes(part), text);
  }
  assert.match(text, /refused for want of 2,495 decisions/);
});

test('episodes are counted once, and wrong where one of their decisions is', () => {
  const input = rows([0.99, 1, 600], [0.99, 0, 2]);
  const episodes = Array.from({ length: 602 }, (_, i) => (i < 600 ? i % 30 : 30));
  const c = certify({ ...input, episodes }, { target: 0.02, thresholds: [0.9] });
  assert.deepEqual([c.accepted, c.errors], [602, 2]);
  assert.deepEqual([c.episodes?.count, c.episodes?.errors], [31, 1]);
  assert.ok((c.episodes?.bound ?? 0) > c.target, 'reported, not certified');
  assert.throws(() => certify({ ...input, episodes: [1] }), ModelError);
});
