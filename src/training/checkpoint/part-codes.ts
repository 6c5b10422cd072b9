import type { DenseNetwork, TreeEnsemble } from '../../models/index.ts';
import type { StateArray } from './training-state.ts';
import type { PartCode } from './training-steps.ts';

/** An ensemble is arrays as it is. */
export const FOREST_CODE: PartCode<TreeEnsemble> = {
  encode: (ensemble) => ({ ...ensemble }),
  decode: (arrays) => arrays as unknown as TreeEnsemble,
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
      const weights = arrays[`weights ${l}`] as Float32Array;
      const biases = arrays[`biases ${l}`] as Float32Array;
      return { inputs: weights.length / biases.length, outputs: biases.length, weights, biases };
    }),
};
