import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CertifyOptions, certify } from './certificate.ts';
import { ModelError } from './errors.ts';

/** Rows given as [probability, label, how many]. */
function rows(...groups: readonly (readonly [number, number, number])[]) {
  const probability = groups.flatMap(([p, , n]) => Array<number>(n).fill(p));
  const labels = groups.flatMap(([, label, n]) => Array<number>(n).fill(label));
  return { probability, labels, origin: 'site' as const };
}

const LOOSE: Partial<CertifyOptions> = { target: 0.01, thresholds: [0.99, 0.9, 0.5] };

test('too few decisions are refused, and it is said how many are wanting', () => {
  const c = certify(rows([0.99999, 1, 1000], [0.1, 0, 1000]));
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
