import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { randomEnsemble, randomModel, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import { BoostedModel, type BoostedModelParts } from './detection-model.ts';
import { ModelError } from './errors.ts';
import { decodeModel, encodeModel } from './model-file.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';

const KINDS = ['port-scan', 'syn-flood'];

function scores(model: BoostedModel): Float32Array {
  const values = randomRows(new SeededRandom(9), 40);
  const out = { probability: new Float32Array(40), kind: new Int16Array(40) };
  model.score(values, 40, out);
  return out.probability;
}

function isMalformed(error: unknown): boolean {
  return error instanceof ModelError && error.code === 'models.malformed';
}

test('a model survives the file and is written to the same bytes again', () => {
  for (const kinds of [[], KINDS]) {
    const model = randomModel(new SeededRandom(1), 5, 6, kinds);
    const bytes = encodeModel(model);
    const back = decodeModel(bytes);
    assert.deepEqual(back.parts, model.parts);
    assert.deepEqual(encodeModel(back), bytes);
    assert.deepEqual(scores(back), scores(model));
  }
});

test('format version 1 is written as it was first', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(1), 5, 6, KINDS));
  assert.equal(sha256(bytes), 'sha256:53dbaaa1d492b68467dc17c92a33abb63921d2380b5083076e11aedf9d30a162');
});

test('a file at an odd offset of a larger buffer is read like any other', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(2)));
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  assert.deepEqual(encodeModel(decodeModel(shifted.subarray(3))), bytes);
});

test('a file cut at any length, or with a byte behind its end, is refused', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(3), 2, 3, KINDS));
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeModel(bytes.subarray(0, length)), isMalformed, `length ${length}`);
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  assert.throws(() => decodeModel(longer), isMalformed);
});

test('any changed byte at every offset is refused or decodes to a model that still scores', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(4), 2, 3, KINDS));
  let decoded = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (const change of [0x01, 0x80, 0xff]) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] as number) ^ change;
      try {
        assert.equal(scores(decodeModel(damaged)).length, 40);
        decoded++;
      } catch (error) {
        assert.ok(isMalformed(error), `offset ${at}: ${error}`);
      }
    }
  }
  assert.ok(decoded > 0);
});

test('random bytes behind a valid beginning never do worse than a refusal', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(5), 2, 3));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ minLength: 1, maxLength: 64 }), (at, noise) => {
      const damaged = bytes.slice();
      damaged.set(noise.subarray(0, bytes.length - at), at);
      try {
        scores(decodeModel(damaged));
      } catch (error) {
        assert.ok(isMalformed(error), String(error));
      }
    }),
    { numRuns: 300 },
  );
});

const TREE_DAMAGE: readonly [string, (e: TreeEnsemble) => Partial<TreeEnsemble>][] = [
  ['a child that points back', (e) => ({ child: e.child.with(2, 1) })],
  ['a child beyond its tree', (e) => ({ child: e.child.with(0, e.child.length) })],
  ['a node without a parent', (e) => ({ child: e.child.with(0, 0), flags: e.flags.with(0, 0) })],
  ['a column that does not exist', (e) => ({ feature: e.feature.with(0, 3) })],
  ['a categorical flag on a number', (e) => ({ feature: e.feature.with(0, 0), flags: e.flags.with(0, 1) })],
  ['an unknown flag', (e) => ({ flags: e.flags.with(0, 9) })],
  [
    'a bitset that does not exist',
    (e) => ({ feature: e.feature.with(0, 1), flags: e.flags.with(0, 1), block: e.block.with(0, 99) }),
  ],
  ['a leaf that is not a number', (e) => ({ value: e.value.with(e.value.length - 1, Number.NaN) })],
  ['an infinite leaf', (e) => ({ value: e.value.with(e.value.length - 1, Number.POSITIVE_INFINITY) })],
  ['arrays of different lengths', (e) => ({ cover: e.cover.subarray(1) })],
  ['roots out of order', () => ({ roots: Uint32Array.of(0, 0) })],
  ['a first root above 0', (e) => ({ roots: e.roots.with(0, 1) })],
  ['a torn bitset', () => ({ bitsets: new Uint32Array(9) })],
  ['flags on a leaf', (e) => ({ flags: e.flags.with(e.flags.length - 1, 2) })],
];

for (const [what, damage] of TREE_DAMAGE) {
  test(`neither writes nor reads ${what}`, () => {
    const { parts } = randomModel(new SeededRandom(6), 1, 4);
    const detector = { ...parts.detector, ...damage(parts.detector) };
    assert.throws(() => encodeModel(new BoostedModel({ ...parts, detector })), isMalformed);
  });
}

const PART_DAMAGE: readonly [string, (p: BoostedModelParts) => Partial<BoostedModelParts>][] = [
  ['kinds without a stage', () => ({ kinds: ['a'] })],
  [
    'a stage that does not fit',
    (p) => ({ kindStage: { biases: [0], treeCounts: [7], ensemble: p.detector }, kinds: ['a'] }),
  ],
  ['two columns of one name', (p) => ({ columns: p.columns.map((c) => ({ ...c, name: 'x' })) })],
  ['a falling calibration', () => ({ calibration: { kind: 'platt', slope: -1, intercept: 0 } })],
  ['a threshold above 1', () => ({ threshold: 1.5 })],
  ['a bias that is not finite', () => ({ bias: Number.POSITIVE_INFINITY })],
  ['too few quantiles', (p) => ({ statistics: { ...p.statistics, quantiles: new Float32Array(2) } })],
  [
    'quantiles that are not numbers',
    (p) => ({ statistics: { ...p.statistics, missing: p.statistics.missing.with(0, Number.NaN) } }),
  ],
];

for (const [what, damage] of PART_DAMAGE) {
  test(`refuses to write ${what}`, () => {
    const { parts } = randomModel(new SeededRandom(7), 1, 4);
    assert.throws(() => encodeModel(new BoostedModel({ ...parts, ...damage(parts) })), isMalformed);
  });
}

test('refuses another version, a header over its cap, and a header in another form', () => {
  const bytes = encodeModel(randomModel(new SeededRandom(8)));
  assert.throws(() => decodeModel(bytes.with(6, 2)), /version/);
  assert.throws(() => decodeModel(bytes.with(11, 0xff)), /header claims/);
  assert.throws(() => decodeModel(bytes.with(12, 0x20)), /canonical/);
  const huge = new SeededRandom(8);
  const { parts } = randomModel(huge);
  const kinds = Array.from({ length: 5000 }, (_, i) => `${'k'.repeat(240)}${i}`);
  const stage = {
    biases: kinds.map(() => 0),
    treeCounts: kinds.map(() => 0),
    ensemble: randomEnsemble(huge, 0, 0),
  };
  assert.throws(() => encodeModel(new BoostedModel({ ...parts, kinds, kindStage: stage })), isMalformed);
});
