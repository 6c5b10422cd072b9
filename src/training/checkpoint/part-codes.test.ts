import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomEnsemble } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import { FOREST_CODE, NETWORK_CODE } from './part-codes.ts';

test('an ensemble and a network come back as they were', () => {
  const forest = randomEnsemble(new SeededRandom(7), 3, 8);
  assert.deepEqual(FOREST_CODE.decode(FOREST_CODE.encode(forest)), forest);
  const layer = { inputs: 2, outputs: 1, weights: Float32Array.of(1, 2), biases: Float32Array.of(3) };
  assert.deepEqual(NETWORK_CODE.decode(NETWORK_CODE.encode([layer])), [layer]);
});

test('arrays that another version wrote are refused, one missing or of another type at a time', () => {
  const arrays = FOREST_CODE.encode(randomEnsemble(new SeededRandom(7), 3, 8));
  for (const name of Object.keys(arrays)) {
    const { [name]: _, ...without } = arrays;
    for (const wrong of [without, { ...arrays, [name]: new Float64Array(2) }]) {
      assert.throws(() => FOREST_CODE.decode(wrong), { code: 'training.checkpoint-unreadable' }, name);
    }
  }
  const layer = { 'weights 0': new Float32Array(2), 'biases 0': new Float64Array(1) };
  assert.throws(() => NETWORK_CODE.decode(layer), { code: 'training.checkpoint-unreadable' });
});
