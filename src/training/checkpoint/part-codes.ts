import type { DenseNetwork, TreeEnsemble } from '../../models/index.ts';
import { TrainingError } from '../errors.ts';
import type { StateArray, StepArrays } from './training-state.ts';
import type { PartCode } from './training-steps.ts';

/** An ensemble is arrays as it is. */
export const FOREST_CODE: PartCode<TreeEnsemble> = {
  encode: (ensemble) => ({ ...ensemble }),
  decode: (arrays) => ({
    roots: arrayOf(arrays, 'roots', Uint32Array),
    child: arrayOf(arrays, 'child', Uint32Array),
    feature: arrayOf(arrays, 'feature', Uint16Array),
    value: arrayOf(arrays, 'value', Float32Array),
    flags: arrayOf(arrays, 'flags', Uint8Array),
    block: arrayOf(arrays, 'block', Uint32Array),
    cover: arrayOf(arrays, 'cover', Uint32Array),
    bitsets: arrayOf(arrays, 'bitsets', Uint32Array),
  }),
};

/** Weights and biases by number of the layer; their lengths tell its width. */
export const NETWORK_CODE: PartCode<DenseNetwork> = {
  encode: (network) =>
    Object.fromEntries(
      network.flatMap(({ weights, biases }, l): [string, StateArray][] => [
        [`weights ${l}`, weights],
        [`biases ${l}`, biases],
      ]),
    ),
  decode: (arrays) =>
    Array.from({ length: Object.keys(arrays).length / 2 }, (_, l) => {
      const weights = arrayOf(arrays, `weights ${l}`, Float32Array);
      const biases = arrayOf(arrays, `biases ${l}`, Float32Array);
      return { inputs: weights.length / biases.length, outputs: biases.length, weights, biases };
    }),
};

/** What is sealed is ours, but of another version of the trainer it may be other arrays. Throws `training.checkpoint-unreadable`. */
function arrayOf<T extends StateArray>(arrays: StepArrays, name: string, type: new (length: number) => T): T {
  const found = arrays[name];
  if (found instanceof type) return found;
  throw new TrainingError(
    'training.checkpoint-unreadable',
    `expected a ${type.name} of the name ${name} in a step of the checkpoint`,
  );
}
