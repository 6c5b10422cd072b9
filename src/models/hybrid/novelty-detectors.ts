import { ModelError } from '../errors.ts';
import { addMargins, checkEnsemble, type TreeEnsemble } from '../tree-ensemble.ts';
import { checkAutoencoder, type DenseNetwork, forwardNetwork, layerOutputs } from './dense-network.ts';
import { NearestRows } from './nearest-rows.ts';
import { checkEncoding, encodedWidth, encodePoints, type RowEncoding } from './row-encoding.ts';
import { checkTail, type ScoreTail, scoreAtLevel, tailLevel } from './score-tail.ts';

/** Detectors fitted on normal traffic alone, by what they measure. */
export const NOVELTY_DETECTORS = ['distance', 'isolation', 'reconstruction'] as const;
export type NoveltyDetector = (typeof NOVELTY_DETECTORS)[number];

/** Everything the detectors consist of; what the file holds. */
export interface NoveltyParts {
  readonly encoding: RowEncoding;
  /** Float32Array, row-major encoded normal rows of training. */
  readonly normals: Float32Array;
  /** Isolation forest over the encoded numbers: minus the mean path length. */
  readonly forest: TreeEnsemble;
  readonly autoencoder: DenseNetwork;
  readonly tails: Readonly<Record<NoveltyDetector, ScoreTail>>;
  /** What the level of each detector counts beside the trees' margin. */
  readonly weights: Readonly<Record<NoveltyDetector, number>>;
  /** Levels count up to this, so that no detector alone outvotes the trees without limit. */
  readonly cap: number;
  /** Encoded attack rows of training, and which of the names each one is. */
  readonly attacks: {
    readonly points: Float32Array;
    readonly classes: Uint16Array;
    readonly names: readonly string[];
  };
  /** A row farther than this from every row of training kept here is unlike anything in training. */
  readonly novelDistance: number;
}

/** How a row stands to what training held. */
export interface Novelty {
  /** Whether it lies farther from everything than rows held out of training do. */
  readonly isNovel: boolean;
  /** Distance to the nearest row of training, in standard deviations of normal traffic. */
  readonly distance: number;
  /** The known attack class that it comes nearest to; absent where none was known. */
  readonly nearest?: string;
}

const BLOCK_ROWS = 64;

/** The detectors at work. Not for concurrent use: scratch buffers are made once, here. */
export class NoveltyDetectors {
  readonly #parts: NoveltyParts;
  readonly #categories: readonly number[];
  readonly #width: number;
  readonly #normals: NearestRows;
  readonly #attacks: NearestRows;
  readonly #points: Float32Array;
  readonly #depths = new Float64Array(BLOCK_ROWS);
  readonly #outputs: readonly Float32Array[];
  /** Squared distance beyond which the level is the cap, whatever the distance. */
  readonly #limit: number;

  /** `categories` as in `checkEnsemble`, of the columns that are scored. */
  constructor(parts: NoveltyParts, categories: readonly number[]) {
    this.#parts = parts;
    this.#categories = categories;
    this.#width = encodedWidth(parts.encoding, categories);
    this.#normals = new NearestRows(parts.normals, this.#width);
    this.#attacks = new NearestRows(parts.attacks.points, this.#width);
    this.#points = new Float32Array(BLOCK_ROWS * this.#width);
    this.#outputs = layerOutputs(parts.autoencoder, BLOCK_ROWS);
    this.#limit = scoreAtLevel(parts.tails.distance, parts.cap) ** 2;
  }

  /**
   * Adds the weighted levels to `margins` (Float64Array, at least `rows`) of rows from `firstRow` on. Values:
   * Float32Array, row-major. Hot: the arguments are checked by the caller.
   */
  addLevels(values: Float32Array, firstRow: number, rows: number, margins: Float64Array): void {
    const { encoding, tails, weights, cap } = this.#parts;
    const points = this.#points;
    for (let from = 0; from < rows; from += BLOCK_ROWS) {
      const size = Math.min(BLOCK_ROWS, rows - from);
      encodePoints(encoding, this.#categories, values, firstRow + from, size, points);
      // What counts nothing is not computed.
      if (weights.isolation > 0) this.#isolate(size);
      if (weights.reconstruction > 0) {
        forwardNetwork(this.#parts.autoencoder, points, size, this.#outputs);
      }
      for (let r = 0; r < size; r++) {
        let level = 0;
        if (weights.distance > 0) {
          const distance = Math.sqrt(this.#normals.search(points, r * this.#width, this.#limit));
          level += weights.distance * tailLevel(tails.distance, distance, cap);
        }
        if (weights.isolation > 0) {
          level += weights.isolation * tailLevel(tails.isolation, this.#depths[r] as number, cap);
        }
        if (weights.reconstruction > 0) {
          level += weights.reconstruction * tailLevel(tails.reconstruction, this.#error(r), cap);
        }
        margins[from + r] = (margins[from + r] as number) + level;
      }
    }
  }

  /** Raw scores of rows, one Float32Array a detector: what the tails are fitted on. Distances have no limit here. */
  rawScores(values: Float32Array, rows: number): Readonly<Record<NoveltyDetector, Float32Array>> {
    const out = {
      distance: new Float32Array(rows),
      isolation: new Float32Array(rows),
      reconstruction: new Float32Array(rows),
    };
    for (let from = 0; from < rows; from += BLOCK_ROWS) {
      const size = Math.min(BLOCK_ROWS, rows - from);
      encodePoints(this.#parts.encoding, this.#categories, values, from, size, this.#points);
      this.#isolate(size);
      forwardNetwork(this.#parts.autoencoder, this.#points, size, this.#outputs);
      for (let r = 0; r < size; r++) {
        out.distance[from + r] = Math.sqrt(this.#normals.search(this.#points, r * this.#width));
        out.isolation[from + r] = this.#depths[r] as number;
        out.reconstruction[from + r] = this.#error(r);
      }
    }
    return out;
  }

  /** Of one row. Searches without limit: for rows that are shown, not for every row. */
  noveltyOf(row: Float32Array): Novelty {
    const { attacks, novelDistance, encoding } = this.#parts;
    encodePoints(encoding, this.#categories, row, 0, 1, this.#points);
    const toAttack = this.#attacks.search(this.#points, 0);
    const toNormal = this.#normals.search(this.#points, 0, toAttack);
    const distance = Math.sqrt(Math.min(toAttack, toNormal));
    const nearest =
      toAttack === Number.POSITIVE_INFINITY
        ? undefined
        : attacks.names[attacks.classes[this.#attacks.nearest] as number];
    return { isNovel: distance > novelDistance, distance, ...(nearest !== undefined && { nearest }) };
  }

  /**
   * Adds what the levels put on top of one row's margin to `out` (Float64Array, one a column), shared out by how much
   * each column parts the row from the nearest normal one.
   */
  addContributions(row: Float32Array, out: Float64Array): void {
    const margin = new Float64Array(1);
    this.addLevels(row, 0, 1, margin);
    const distance = this.#normals.search(this.#points, 0);
    if (!(distance > 0 && distance < Number.POSITIVE_INFINITY)) return;
    const base = this.#normals.nearest * this.#width;
    const { normals, encoding } = this.#parts;
    let at = 0;
    this.#categories.forEach((size, c) => {
      const end = at + (size === 0 ? 1 : (encoding.slotCounts[c] as number) + 1);
      let sum = 0;
      for (; at < end; at++) sum += ((this.#points[at] as number) - (normals[base + at] as number)) ** 2;
      out[c] = (out[c] as number) + ((margin[0] as number) * sum) / distance;
    });
  }

  #isolate(size: number): void {
    const { forest } = this.#parts;
    this.#depths.fill(0, 0, size);
    addMargins(forest, 0, forest.roots.length, this.#points, this.#width, 0, size, this.#depths);
  }

  /** Root of the sum of squared differences between a row of the block and what the autoencoder makes of it. */
  #error(r: number): number {
    const answer = this.#outputs.at(-1) as Float32Array;
    let sum = 0;
    for (let i = r * this.#width; i < (r + 1) * this.#width; i++) {
      const difference = (answer[i] as number) - (this.#points[i] as number);
      sum += difference * difference;
    }
    return Math.sqrt(sum);
  }
}

/** Refuses detectors that do not fit the columns or each other. Throws models.malformed. O(size). */
export function checkNovelty(parts: NoveltyParts, categories: readonly number[]): void {
  const { encoding, normals, forest, autoencoder, tails, weights, attacks, cap, novelDistance } = parts;
  checkEncoding(encoding, categories);
  const width = encodedWidth(encoding, categories);
  if (width > 0xffff) refuse(`an encoded row has ${width} numbers`);
  for (const points of [normals, attacks.points]) {
    if (points.length % width !== 0 || !points.every(Number.isFinite)) {
      refuse(`${points.length} numbers are no points of ${width} finite numbers`);
    }
  }
  checkEnsemble(forest, new Array<number>(width).fill(0));
  checkAutoencoder(autoencoder, width);
  for (const detector of NOVELTY_DETECTORS) {
    checkTail(tails[detector]);
    if (!(weights[detector] >= 0 && weights[detector] <= 100))
      refuse(`${detector} has the weight ${weights[detector]}`);
  }
  if (!(cap > 0 && cap <= 1000)) refuse(`the levels end at ${cap}`);
  if (!(novelDistance >= 0 && Number.isFinite(novelDistance))) refuse(`nothing is novel at ${novelDistance}`);
  if (attacks.classes.length * width !== attacks.points.length) refuse('the attacks are not one class each');
  if (attacks.classes.some((k) => k >= attacks.names.length))
    refuse('an attack is of a class without a name');
}

function refuse(message: string): never {
  throw new ModelError('models.malformed', message);
}
