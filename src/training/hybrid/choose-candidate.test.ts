import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomModel, randomRows } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import { binaryMetrics, calibrate, sumMargins } from '../../models/index.ts';
import type { LabelledTable } from '../labelled-table.ts';
import { atLeastEvenOdds, type Candidate, chooseCandidate, measureCandidate } from './choose-candidate.ts';

const RATES = { balanced: 0.02, quiet: 0.005 };

/** Rows of which the model's own margin, with noise, gives the label. */
function heldRows(random: SeededRandom, rows: number) {
  const { parts } = randomModel(random, 4, 4);
  const values = randomRows(random, rows);
  const margins = sumMargins(parts.detector, parts.bias, values, rows);
  const labels = Uint8Array.from(margins, (margin) => Number(margin + random.normal() / 2 > 0));
  const columns = parts.columns.length;
  return { parts, held: { rows, columns, values, labels } as unknown as LabelledTable };
}

test('thresholds keep to their rates on the held-out rows, and balanced accuracy is their mean', () => {
  const { parts, held } = heldRows(new SeededRandom(1), 3000);
  const candidate = measureCandidate(parts, held, RATES);
  let sum = 0;
  for (const { name, nominalFpr, threshold } of candidate.operatingPoints) {
    const { fpr, recall } = binaryMetrics(candidate.probability, held.labels, threshold);
    assert.equal(nominalFpr, RATES[name]);
    assert.ok(fpr.value <= nominalFpr, `${name} ${fpr.value}`);
    sum += (recall.value + 1 - fpr.value) / 2;
  }
  assert.equal(candidate.balancedAccuracy, sum / 2);
});

test('where a label is absent nothing is told apart, and the wariest is chosen', () => {
  const { parts, held } = heldRows(new SeededRandom(2), 200);
  const normal = { ...held, labels: new Uint8Array(held.rows) };
  const candidates = [parts, parts].map((each) => measureCandidate(each, normal, RATES));
  assert.deepEqual(
    candidates.map(({ balancedAccuracy }) => balancedAccuracy),
    [0, 0],
  );
  assert.equal(chooseCandidate(candidates, 0), candidates[0]);
});

test('wariness may cost as much as is tolerated and no more', () => {
  const of = (...measured: number[]) => measured.map((b) => ({ balancedAccuracy: b }) as Candidate);
  const chosen = (candidates: readonly Candidate[]): number =>
    candidates.indexOf(chooseCandidate(candidates, 0.002));
  assert.equal(chosen(of(0.99, 0.991, 0.9915)), 0);
  assert.equal(chosen(of(0.95, 0.9905, 0.992)), 1);
  assert.equal(chosen(of(0.95, 0.98, 0.992)), 2);
  assert.equal(chosen(of(0.99, 0.5, 0.5)), 0);
});

test('thresholds below even odds are raised to them, others stay', () => {
  const { parts, held } = heldRows(new SeededRandom(3), 3000);
  const candidate = measureCandidate(parts, held, { balanced: 0.9, quiet: 0.001 });
  const even = calibrate(candidate.calibration, 0);
  const [balanced, quiet] = candidate.operatingPoints;
  assert.ok((balanced?.threshold ?? 1) < even && (quiet?.threshold ?? 0) > even);
  assert.deepEqual(
    atLeastEvenOdds(candidate).map(({ threshold }) => threshold),
    [even, quiet?.threshold],
  );
});
