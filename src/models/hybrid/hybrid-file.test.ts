import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomHybrid, randomNovelty } from '../../../test/support/random-hybrid.ts';
import { RANDOM_COLUMNS, randomModel, randomRows } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import { sha256 } from '../../crypto/index.ts';
import { BoostedModel } from '../detection-model.ts';
import { ModelError } from '../errors.ts';
import { decodeModel, encodeModel } from '../model-file.ts';
import { checkNovelty, type NoveltyParts } from './novelty-detectors.ts';

const ROWS = 40;
const CATEGORIES = RANDOM_COLUMNS.map(({ categories }) => categories);

function scores(model: BoostedModel): Float32Array {
  const out = { probability: new Float32Array(ROWS), kind: new Int16Array(ROWS) };
  model.score(randomRows(new SeededRandom(9), ROWS), ROWS, out);
  return out.probability;
}

const isMalformed = (error: unknown): boolean =>
  error instanceof ModelError && error.code === 'models.malformed';

test('a hybrid survives the file and is written to the same bytes again', () => {
  const model = randomHybrid(new SeededRandom(1));
  const bytes = encodeModel(model);
  const back = decodeModel(bytes);
  assert.deepEqual(back.parts, model.parts);
  assert.deepEqual(encodeModel(back), bytes);
  assert.deepEqual(scores(back), scores(model));
  assert.deepEqual(decodeModel(Buffer.from(bytes)).parts, model.parts);
});

test('format version 2 is written as it was first', () => {
  const bytes = encodeModel(randomHybrid(new SeededRandom(1)));
  assert.equal(bytes[6], 2);
  assert.equal(sha256(bytes), 'sha256:5d017fa6a32edd5f048aa717c097971a827fd1c14f7d8457fd816ed9e06a9e8f');
});

test('a version that does not fit the type is refused', () => {
  const random = new SeededRandom(2);
  assert.throws(() => decodeModel(encodeModel(randomHybrid(random)).with(6, 1)), isMalformed);
  assert.throws(() => decodeModel(encodeModel(randomModel(random)).with(6, 2)), isMalformed);
  const { parts } = randomModel(random);
  assert.throws(() => encodeModel(new BoostedModel({ ...parts, operatingPoints: [] })), isMalformed);
});

test('a hybrid cut at any length is refused', () => {
  const bytes = encodeModel(randomHybrid(new SeededRandom(3)));
  for (let length = 0; length < bytes.length; length += 3) {
    assert.throws(() => decodeModel(bytes.subarray(0, length)), isMalformed, `length ${length}`);
  }
});

test('a changed byte is refused or decodes to a hybrid that still scores', () => {
  const bytes = encodeModel(randomHybrid(new SeededRandom(4)));
  let decoded = 0;
  for (let at = 0; at < bytes.length; at += 3) {
    for (const change of [0x81]) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] as number) ^ change;
      try {
        const model = decodeModel(damaged);
        for (const p of scores(model)) assert.ok(p >= 0 && p <= 1);
        model.novelty(randomRows(new SeededRandom(1), 1));
        decoded++;
      } catch (error) {
        assert.ok(isMalformed(error), `offset ${at}: ${error}`);
      }
    }
  }
  assert.ok(decoded > 0);
});

const DAMAGE: readonly [string, (p: NoveltyParts) => Partial<NoveltyParts>][] = [
  ['points of a torn row', (p) => ({ normals: p.normals.subarray(1) })],
  ['a point that is no number', (p) => ({ normals: p.normals.with(2, Number.NaN) })],
  ['an attack of a class without a name', (p) => ({ attacks: { ...p.attacks, names: ['flood'] } })],
  ['an attack without a class', (p) => ({ attacks: { ...p.attacks, classes: Uint16Array.of(0) } })],
  [
    'a forest over a number that is not there',
    (p) => ({ forest: { ...p.forest, feature: p.forest.feature.with(0, 5) } }),
  ],
  ['a forest that circles', (p) => ({ forest: { ...p.forest, child: p.forest.child.with(1, 1) } })],
  ['an autoencoder of another width', (p) => ({ autoencoder: p.autoencoder.slice(0, 1) })],
  ['a weight below 0', (p) => ({ weights: { ...p.weights, distance: -1 } })],
  ['a weight that is no number', (p) => ({ weights: { ...p.weights, isolation: Number.NaN } })],
  ['a cap of 0', () => ({ cap: 0 })],
  ['a novel distance that is no number', () => ({ novelDistance: Number.NaN })],
];

for (const [what, damage] of DAMAGE) {
  test(`refuses ${what}`, () => {
    const parts = randomNovelty(new SeededRandom(6));
    checkNovelty(parts, CATEGORIES);
    assert.throws(() => checkNovelty({ ...parts, ...damage(parts) }, CATEGORIES), isMalformed);
  });
}

test('one row scores as in a batch, and margins hold the levels', () => {
  const model = randomHybrid(new SeededRandom(7));
  const values = randomRows(new SeededRandom(9), ROWS);
  const all = scores(model);
  const out = { probability: new Float32Array(1), kind: new Int16Array(1) };
  for (let r = 0; r < ROWS; r++) {
    model.score(values.subarray(r * 3, r * 3 + 3), 1, out);
    assert.equal(out.probability[0], all[r]);
  }
  const { novelty: _, operatingPoints: __, ...trees } = model.parts;
  const [with_, without] = [new Float64Array(ROWS), new Float64Array(ROWS)];
  model.margins(values, ROWS, with_);
  new BoostedModel(trees).margins(values, ROWS, without);
  for (let r = 0; r < ROWS; r++) assert.ok((with_[r] as number) >= (without[r] as number));
});

test('the columns that part a row from normal traffic are among those that explain it', () => {
  const { parts } = randomHybrid(new SeededRandom(8));
  const model = new BoostedModel({ ...parts, bias: 0 });
  const [first] = model.explain(Float32Array.of(50, 3, 0));
  assert.equal(first?.column, 'duration');
  assert.ok((first?.contribution ?? 0) > 0);
});

test('a row far from everything is novel, and its nearest class is named', () => {
  const model = randomHybrid(new SeededRandom(8));
  const far = model.novelty(Float32Array.of(50, 3, -50));
  assert.equal(far?.isNovel, true);
  assert.ok(['flood', 'scan'].includes(far?.nearest ?? ''));
  const loose = new BoostedModel({
    ...model.parts,
    novelty: { ...randomNovelty(new SeededRandom(8)), novelDistance: 1000 },
  });
  assert.equal(loose.novelty(Float32Array.of(0, 3, 0))?.isNovel, false);
  assert.equal(randomModel(new SeededRandom(1)).novelty(Float32Array.of(0, 3, 0)), undefined);
});

test('an operating point changes the threshold and nothing else', () => {
  const model = randomHybrid(new SeededRandom(8));
  assert.equal(model.at('quiet').threshold, 0.75);
  assert.deepEqual(scores(model.at('quiet')), scores(model));
  assert.throws(() => randomModel(new SeededRandom(1)).at('quiet'), { code: 'models.argument-invalid' });
});
