import type { SeededRandom } from '../../base/index.ts';
import {
  encodedWidth,
  encodePoints,
  type NoveltyDetector,
  NoveltyDetectors,
  type NoveltyParts,
  quantileOf,
  type ScoreTail,
} from '../../models/index.ts';
import { FOREST_CODE, NETWORK_CODE } from '../checkpoint/part-codes.ts';
import type { TrainingSteps } from '../checkpoint/training-steps.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import type { HybridConfig } from './config.ts';
import { type EpochProgress, fitAutoencoder } from './fit-autoencoder.ts';
import { fitEncoding } from './fit-encoding.ts';
import { fitForest } from './fit-forest.ts';
import { fitTail } from './fit-tail.ts';
import type { OpenGradients } from './gradient-source.ts';

/** What else takes part while detectors are fitted; they do not depend on it. */
export interface DetectorWatch {
  /** Called often: who slows training down, or breaks it off, does it here. */
  readonly turn?: (() => Promise<void>) | undefined;
  /** Where gradients of the autoencoder are summed; on points of this process where absent. */
  readonly gradients?: OpenGradients | undefined;
  readonly onEpoch?: ((epoch: EpochProgress) => void | Promise<void>) | undefined;
}

export interface NoveltyInput {
  readonly table: LabelledTable;
  /** Rows that may be fitted on. */
  readonly train: Uint32Array;
  /** Rows that nothing was fitted on: levels and the novel distance come from them. */
  readonly held: Uint32Array;
  readonly categories: readonly number[];
  readonly config: HybridConfig;
  readonly random: SeededRandom;
  readonly watch?: DetectorWatch | undefined;
  readonly steps?: TrainingSteps | undefined;
}

const BATCH = 128;
const LEARNING_RATE = 0.002;
const NO_TAIL: ScoreTail = { scores: Float32Array.of(0), levels: Float32Array.of(0), slope: 0 };

/** Fits the detectors on normal traffic, their levels on held-out normal traffic, and keeps attacks to compare with. */
export async function fitNovelty(input: NoveltyInput): Promise<NoveltyParts> {
  const { table, train, held, categories, config, random, steps } = input;
  const { turn, gradients: open, onEpoch } = input.watch ?? {};
  const isNormal = (r: number): boolean => table.labels[r] === 0;
  const normals = train.filter(isNormal);
  const encoding = fitEncoding(table, normals, categories, { categoryScale: 1 });
  const width = encodedWidth(encoding, categories);
  const encode = (rows: ArrayLike<number>): Float32Array => {
    const points = new Float32Array(rows.length * width);
    encodePoints(encoding, categories, selectRows(table, rows).values, 0, rows.length, points);
    return points;
  };
  const points = encode(random.shuffle([...normals]).slice(0, config.normals));
  const attacks = drawAttacks(table, train, config.attacksPerType, random);
  const { forestTrees: trees, forestSample: sample, autoencoder: hidden, autoencoderEpochs: epochs } = config;
  // Forks are taken in order, whether or not their part was fitted before.
  const [forestRandom, autoencoderRandom] = [random.fork(), random.fork()];
  const forest = () => fitForest(points, width, { trees, sample, turn }, forestRandom);
  const autoencoder = () =>
    fitAutoencoder(
      points,
      width,
      { hidden, epochs, batch: BATCH, learningRate: LEARNING_RATE, open, turn, onEpoch },
      autoencoderRandom,
    );
  const parts: NoveltyParts = {
    encoding,
    normals: points,
    forest: steps === undefined ? await forest() : await steps.part('forest', forest, FOREST_CODE),
    autoencoder:
      steps === undefined ? await autoencoder() : await steps.part('autoencoder', autoencoder, NETWORK_CODE),
    tails: perDetector(() => NO_TAIL),
    weights: config.weights,
    cap: config.cap,
    attacks: { points: encode(attacks.rows), classes: attacks.classes, names: attacks.names },
    novelDistance: 0,
  };
  // The raw scores do not depend on the tails, nor the distances on what counts as novel.
  const fitted = new NoveltyDetectors(parts, categories);
  const heldRows = selectRows(table, held);
  const raw = fitted.rawScores(heldRows.values, heldRows.rows);
  const tailOf = (detector: NoveltyDetector): ScoreTail =>
    fitTail(raw[detector].filter((_, r) => heldRows.labels[r] === 0));
  return {
    ...parts,
    tails: perDetector(tailOf),
    novelDistance: novelDistance(fitted, heldRows, config.novelShare),
  };
}

function perDetector<T>(of: (detector: NoveltyDetector) => T): Record<NoveltyDetector, T> {
  return { distance: of('distance'), isolation: of('isolation'), reconstruction: of('reconstruction') };
}

/** Rows of each attack type and the names of the types that have any. */
function drawAttacks(table: LabelledTable, train: Uint32Array, limit: number, random: SeededRandom) {
  const byType = new Map<number, number[]>();
  for (const r of train) {
    if (table.labels[r] === 0) continue;
    const type = table.typeIndex[r] as number;
    const rows = byType.get(type);
    if (rows === undefined) byType.set(type, [r]);
    else rows.push(r);
  }
  const types = [...byType].sort(([a], [b]) => a - b);
  const kept = types.map(([, rows]) => random.shuffle(rows).slice(0, limit));
  return {
    rows: kept.flat(),
    classes: Uint16Array.from(kept.flatMap((rows, k) => rows.map(() => k))),
    names: types.map(([type]) => table.typeNames[type] as string),
  };
}

/** Distance that only this share of the held-out rows exceeds; rows of both labels. */
function novelDistance(detectors: NoveltyDetectors, held: LabelledTable, share: number): number {
  const distances = Float32Array.from(
    { length: held.rows },
    (_, r) => detectors.noveltyOf(held.values.subarray(r * held.columns, (r + 1) * held.columns)).distance,
  ).filter(Number.isFinite);
  return quantileOf(distances.sort(), 1 - share);
}
