import '../../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nearestOf } from '../../../test/twins/plain-dense.ts';
import { SeededRandom } from '../../base/index.ts';
import { checkAutoencoder, forwardNetwork, layerOutputs } from './dense-network.ts';
import { NearestRows } from './nearest-rows.ts';
import { checkEncoding, encodedWidth, encodePoints, OTHER_SLOT, type RowEncoding } from './row-encoding.ts';
import { checkTail, scoreAtLevel, tailLevel } from './score-tail.ts';

const isMalformed = { code: 'models.malformed' };

test('the nearest row is the one that looking at every row finds, to the bit', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 300 }),
      fc.nat(),
      (width, rows, seed) => {
        const random = new SeededRandom(seed);
        // Few distinct values, so that distances tie.
        const points = new Float32Array(rows * width).map(() => random.integer(-3, 3) / 4);
        const query = new Float32Array(width).map(() => random.uniform(-1, 1));
        const tree = new NearestRows(points, width);
        const plain = nearestOf(points, width, query);
        const found = tree.search(query, 0);
        assert.ok(
          Math.abs(found - plain.distance) <= 1e-6 * plain.distance,
          `${found} and ${plain.distance}`,
        );
        const row = tree.nearest;
        assert.equal(
          nearestOf(points.subarray(row * width, (row + 1) * width), width, query).distance,
          found,
        );
        assert.equal(tree.search(query, 0, found / 2), Math.fround(found / 2));
      },
    ),
    { numRuns: 60 },
  );
});

test('without rows nothing is near', () => {
  assert.equal(
    new NearestRows(new Float32Array(0), 5).search(new Float32Array(5), 0),
    Number.POSITIVE_INFINITY,
  );
});

const ENCODING: RowEncoding = {
  means: Float32Array.of(10, 0),
  scales: Float32Array.of(0.5, 1),
  slots: Uint16Array.of(1, OTHER_SLOT, 0),
  slotCounts: Uint16Array.of(0, 2),
};
const CATEGORIES = [0, 3];

test('a row becomes a point: numbers scaled and clipped, categories one-hot, missing 0', () => {
  const cases: readonly [number, number, readonly number[]][] = [
    [12, 0, [1, 0, 1, 0]],
    [10, 2, [0, 1, 0, 0]],
    [1e6, 1, [8, 0, 0, 1]],
    [-1e6, 200, [-8, 0, 0, 1]],
    [Number.NaN, Number.NaN, [0, 0, 0, 0]],
    [Number.POSITIVE_INFINITY, -1, [8, 0, 0, 0]],
  ];
  assert.equal(encodedWidth(ENCODING, CATEGORIES), 4);
  for (const [number, category, expected] of cases) {
    const out = new Float32Array(4).fill(9);
    encodePoints(ENCODING, CATEGORIES, Float32Array.of(number, category), 0, 1, out);
    assert.deepEqual([...out], expected);
  }
});

const ENCODING_DAMAGE: readonly [string, Partial<RowEncoding>][] = [
  ['too few means', { means: new Float32Array(1) }],
  ['a mean that is no number', { means: Float32Array.of(Number.NaN, 0) }],
  ['a scale of 0', { scales: Float32Array.of(0, 1) }],
  ['more slots than categories', { slotCounts: Uint16Array.of(0, 4) }],
  ['slots of a number', { slotCounts: Uint16Array.of(1, 2) }],
  ['a slot beyond the list', { slots: Uint16Array.of(2, 0, 1) }],
  ['too many slots', { slots: new Uint16Array(4) }],
];

for (const [what, damage] of ENCODING_DAMAGE) {
  test(`refuses an encoding with ${what}`, () => {
    assert.throws(() => checkEncoding({ ...ENCODING, ...damage }, CATEGORIES), isMalformed);
  });
}

test('a level rises with the score, ends in a straight tail and stops at the cap', () => {
  const tail = { scores: Float32Array.of(1, 2, 4), levels: Float32Array.of(0.5, 1, 4), slope: 2 };
  checkTail(tail);
  const level = (score: number): number => tailLevel(tail, score, 12);
  assert.deepEqual([0, 1, 1.5, 2, 3, 4, 5, 100].map(level), [0, 0.5, 0.75, 1, 2.5, 4, 6, 12]);
  assert.equal(scoreAtLevel(tail, 12), 8);
  assert.equal(scoreAtLevel(tail, 4), 4);
  assert.equal(scoreAtLevel({ ...tail, slope: 0 }, 12), Number.POSITIVE_INFINITY);
  for (const damage of [
    { scores: Float32Array.of(1, 1, 4) },
    { levels: Float32Array.of(1, 0, 4) },
    { levels: Float32Array.of(1, 2) },
    { scores: Float32Array.of(1, 2, Number.NaN) },
    { scores: new Float32Array(0), levels: new Float32Array(0) },
    { slope: -1 },
    { slope: Number.NaN },
  ]) {
    assert.throws(() => checkTail({ ...tail, ...damage }), isMalformed);
  }
});

test('a network adds up by hand, and one that does not fit is refused', () => {
  const network = [
    { inputs: 2, outputs: 1, weights: Float32Array.of(1, -1), biases: Float32Array.of(0.5) },
    { inputs: 1, outputs: 2, weights: Float32Array.of(2, 3), biases: Float32Array.of(0, -1) },
  ];
  checkAutoencoder(network, 2);
  const outputs = layerOutputs(network, 2);
  forwardNetwork(network, Float32Array.of(1, 0, 0, 4), 2, outputs);
  assert.deepEqual([...(outputs[1] as Float32Array)], [3, 3.5, 0, -1]);
  assert.throws(() => checkAutoencoder(network, 3), isMalformed);
  assert.throws(() => checkAutoencoder(network.slice(1), 2), isMalformed);
  assert.throws(() => checkAutoencoder([], 2), isMalformed);
  const [first, second] = network as [(typeof network)[0], (typeof network)[0]];
  const torn = [{ ...first, weights: Float32Array.of(1, Number.NaN) }, second];
  assert.throws(() => checkAutoencoder(torn, 2), isMalformed);
});
