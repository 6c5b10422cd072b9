import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomHybrid } from '../../test/support/random-hybrid.ts';
import { randomModel, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import { BoostedModel, type Score } from '../models/index.ts';
import { describeRows } from './answer.ts';
import { newColumnArrays } from './score-columns.ts';
import { ServedModel } from './served-model.ts';

const ROWS = 30;

function scoresOf(model: BoostedModel, values: Float32Array, operatingPoint?: 'balanced' | 'quiet'): Score[] {
  const info = { name: 'flow', version: '1.0.0', digest: model.schemaId } as const;
  const served = new ServedModel(
    { ...info, schemaId: model.schemaId, sourceKinds: ['packets'], model },
    ROWS,
    operatingPoint,
  );
  served.warmUp();
  const rows = values.length / 3;
  const batch: FeatureBatch = {
    schemaId: model.schemaId,
    sourceKind: 'packets',
    rows,
    columns: 3,
    values,
    rejected: [],
  };
  const arrays = newColumnArrays(rows);
  served.score(batch, 0, rows, 0.5, arrays);
  const out: Score[] = [];
  describeRows(batch, { served, rows, arrays }, { from: 0, to: rows, confidenceThreshold: 0.5 }, out);
  return out;
}

test('an attack row unlike anything in training says so, with the nearest known class', () => {
  const { parts } = randomHybrid(new SeededRandom(8));
  const model = randomHybrid(new SeededRandom(8));
  const [score] = scoresOf(model, Float32Array.of(50, 3, -50));
  assert.equal(score?.verdict, 'attack');
  assert.equal(score?.novelty?.says, 'unlike anything in training');
  assert.ok((score?.novelty?.distance ?? 0) > (parts.novelty?.novelDistance ?? Number.POSITIVE_INFINITY));
  assert.ok(parts.novelty?.attacks.names.includes(score?.novelty?.nearest ?? ''));
});

test('a model without detectors says nothing of novelty', () => {
  const values = randomRows(new SeededRandom(9), ROWS);
  for (const score of scoresOf(randomModel(new SeededRandom(8)), values, 'quiet')) {
    assert.equal('novelty' in score, false);
  }
});

test('the operating point decides which rows are attacks, and no probability', () => {
  const { parts } = randomHybrid(new SeededRandom(8));
  const values = randomRows(new SeededRandom(9), ROWS);
  const sorted = scoresOf(new BoostedModel(parts), values)
    .map(({ probability }) => probability)
    .sort((a, b) => a - b);
  const threshold = sorted[ROWS - 5] as number;
  const model = new BoostedModel({
    ...parts,
    threshold: sorted[5] as number,
    operatingPoints: [
      { name: 'balanced', threshold: sorted[5] as number, nominalFpr: 0.02 },
      { name: 'quiet', threshold, nominalFpr: 0.005 },
    ],
  });
  const attacks = (scores: readonly Score[]) => scores.filter(({ verdict }) => verdict === 'attack').length;
  const [own, balanced, quiet] = [
    scoresOf(model, values),
    scoresOf(model, values, 'balanced'),
    scoresOf(model, values, 'quiet'),
  ];
  assert.deepEqual(balanced, own);
  assert.deepEqual(
    quiet.map(({ probability }) => probability),
    own.map(({ probability }) => probability),
  );
  assert.ok(attacks(quiet) < attacks(own));
  assert.ok(quiet.every(({ verdict, probability }) => (verdict === 'attack') === probability >= threshold));
});

test('verdicts change at the cuts and nowhere else', () => {
  const { parts } = randomModel(new SeededRandom(8));
  const steps = 20_000;
  for (const [threshold, confidenceThreshold] of [
    [0.5, 0.5],
    [0.3, 0.8],
    [0.97, 0.999],
  ] as const) {
    const model = new BoostedModel({ ...parts, threshold });
    const { schemaId } = model;
    const about = { name: 'flow', version: '1.0.0', digest: schemaId, schemaId, sourceKinds: ['packets'] };
    const served = new ServedModel({ ...about, model }, ROWS);
    const cuts = served.cuts({ confidenceThreshold });
    const out = newColumnArrays(steps);
    for (let i = 0; i < steps; i++) out.probability[i] = i / (steps - 1);
    const values = new Float32Array(steps * 3);
    const batch = { schemaId, sourceKind: 'packets', rows: steps, columns: 3, values, rejected: [] };
    served.decide(batch, 0, steps, confidenceThreshold, out);
    let changes = 0;
    for (let i = 1; i < steps; i++) {
      if (out.verdict[i] === out.verdict[i - 1]) continue;
      changes++;
      const [low, high] = [out.probability[i - 1] as number, out.probability[i] as number];
      assert.ok(
        cuts.some((cut) => cut >= low - 1e-7 && cut <= high + 1e-7),
        `${low} to ${high}, cuts at ${cuts.join(' ')}`,
      );
    }
    assert.equal(changes, confidenceThreshold > 0.5 ? 2 : 1);
  }
});
