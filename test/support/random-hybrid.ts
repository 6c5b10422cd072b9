import type { SeededRandom } from '../../src/base/index.ts';
import { BoostedModel, type NoveltyParts, OTHER_SLOT, type ScoreTail } from '../../src/models/index.ts';
import { RANDOM_COLUMNS, randomModel } from './random-model.ts';

const WIDTH = 5;

/** Detectors that fit RANDOM_COLUMNS: two numbers, two listed services and one slot for all others. */
export function randomNovelty(random: SeededRandom): NoveltyParts {
  const floats = (n: number): Float32Array => new Float32Array(n).map(() => random.uniform(-1, 1));
  const tail = (): ScoreTail => ({
    scores: Float32Array.of(-1, 0, 1),
    levels: Float32Array.of(0, 1, 4),
    slope: 2,
  });
  const services = RANDOM_COLUMNS[1]?.categories ?? 0;
  return {
    encoding: {
      means: Float32Array.of(0.1, 0, -0.1),
      scales: Float32Array.of(2, 1, 3),
      slots: new Uint16Array(services).fill(OTHER_SLOT).with(3, 0).with(5, 1),
      slotCounts: Uint16Array.of(0, 2, 0),
    },
    normals: floats(6 * WIDTH),
    attacks: { points: floats(2 * WIDTH), classes: Uint16Array.of(1, 0), names: ['flood', 'scan'] },
    forest: {
      roots: Uint32Array.of(0, 3),
      child: Uint32Array.of(1, 0, 0, 4, 0, 0),
      feature: Uint16Array.of(4, 0, 0, 0, 0, 0),
      value: Float32Array.of(0.1, -1, -2, -0.2, -1.5, -0.5),
      flags: new Uint8Array(6),
      block: new Uint32Array(6),
      cover: Uint32Array.of(6, 3, 3, 6, 2, 4),
      bitsets: new Uint32Array(0),
    },
    autoencoder: [
      { inputs: WIDTH, outputs: 2, weights: floats(2 * WIDTH), biases: floats(2) },
      { inputs: 2, outputs: WIDTH, weights: floats(2 * WIDTH), biases: floats(WIDTH) },
    ],
    tails: { distance: tail(), isolation: tail(), reconstruction: tail() },
    weights: { distance: 1, isolation: 0.5, reconstruction: 0.25 },
    cap: 12,
    novelDistance: 1.5,
  };
}

/** A hybrid of random trees and detectors, with both operating points. */
export function randomHybrid(random: SeededRandom): BoostedModel {
  return new BoostedModel({
    ...randomModel(random, 2, 3).parts,
    novelty: randomNovelty(random),
    operatingPoints: [
      { name: 'balanced', threshold: 0.5, nominalFpr: 0.02 },
      { name: 'quiet', threshold: 0.75, nominalFpr: 0.005 },
    ],
  });
}
