import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomHybrid } from '../../test/support/random-hybrid.ts';
import { randomModel, randomRows } from '../../test/support/random-model.ts';
import { SeededRandom } from '../base/index.ts';
import { nodeMeans } from './contributions.ts';
import type { BoostedModel } from './detection-model.ts';

/** Margin of the mean training row: bias, and the means of the roots. */
function baseOf({ parts }: BoostedModel): number {
  const means = nodeMeans(parts.detector);
  return parts.bias + [...parts.detector.roots].reduce((sum, root) => sum + (means[root] as number), 0);
}

test('exact explanations add up to the margin as path contributions do, and are others', () => {
  const random = new SeededRandom(20261123);
  const model = randomModel(random, 6, 8);
  const rows = randomRows(random, 200);
  const margins = new Float64Array(200);
  model.margins(rows, 200, margins);
  let differ = 0;
  for (let r = 0; r < 200; r++) {
    const row = rows.slice(r * 3, r * 3 + 3);
    const sum = (found: ReturnType<BoostedModel['explain']>) =>
      found.reduce((total, { contribution }) => total + contribution, 0);
    const expected = (margins[r] as number) - baseOf(model);
    assert.ok(Math.abs(sum(model.explainExactly(row)) - expected) < 1e-9);
    assert.ok(Math.abs(sum(model.explain(row)) - expected) < 1e-9);
    if (model.explain(row)[0]?.contribution !== model.explainExactly(row)[0]?.contribution) differ++;
  }
  assert.ok(differ > 50, `${differ}`);
});

test('in a hybrid what novelty adds is shared out on top, and the limit is kept', () => {
  const random = new SeededRandom(7);
  const model = randomHybrid(random);
  const columns = model.parts.columns.length;
  const row = Float32Array.from({ length: columns }, () => 1);
  const exact = model.explainExactly(row, 100);
  const path = model.explain(row, 100);
  const sum = (found: typeof exact) => found.reduce((total, { contribution }) => total + contribution, 0);
  assert.ok(Math.abs(sum(exact) - sum(path)) < 1e-9);
  assert.equal(model.explainExactly(row, 1).length, 1);
  assert.throws(() => model.explainExactly(new Float32Array(columns - 1)), { code: 'models.shape-mismatch' });
});
