import { setImmediate } from 'node:timers/promises';
import type { Bytes } from '../../base/index.ts';
import {
  type BoostedModel,
  calibrate,
  encodePoints,
  type NoveltyParts,
  type ScoreBatchBuffers,
  tailLevel,
} from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import { calibrationRows } from './calibration-rows.ts';
import { type PackedNovelty, packNovelty } from './packed-novelty.ts';
import { fromFixed, type PackedTrees, packTrees, type TreeHead } from './packed-trees.ts';
import {
  align,
  type DevicePass,
  type DeviceTurn,
  MAX_BINDING,
  type ScoringDevice,
  workgroups,
} from './scoring-device.ts';
import { ERROR_SHADER, LAYER_SHADER, NEAREST_SHADER, TREES_SHADER, WORKGROUP } from './shaders.ts';

/** How far a probability may lie from the CPU's. */
export const AGREEMENT = 1e-5;

/** How a device stands to the CPU on rows that are like those of training. */
export interface DeviceCheck {
  /** Largest differences found. */
  readonly margin: number;
  readonly probability: number;
  /** Why the device cannot be used. */
  readonly refused?: string;
}

export interface DeviceModelCounters {
  /** Rows scored on the device, those that were scored again included. */
  readonly rows: number;
  /** Rows scored again on the CPU: too near to where a decision changes to leave it to the device. */
  readonly again: number;
  /** Rows scored again to see that the device is still right. */
  readonly control: number;
}

/** Rows that the device is given at a time: between two parts the event loop has its turn. */
const PART_ROWS = 16_384;
const MIN_PART_ROWS = 64;
const CHECKED_ROWS = 512;
/** Then the event loop has its turn: other models serve meanwhile. */
const CHECKED_AT_ONCE = 64;
/** The band around a cut is so many times the largest difference found. */
const SAFETY = 8;
const LEAST_BAND = 1e-6;
/** Half a unit in the last place of a float32, relative. */
const HALF_ULP = 2 ** -24;
/** Of two probabilities made of nearly the same margin, relative: the logit's rounding (up to 100) and the exponential's. */
const CALIBRATION_ROUNDING = 2 ** -45;
/** Fewer rows than that are named on the CPU. */
const KIND_ROWS = 256;
const CONTROL_EVERY = 4_096;
/** Invocations that keep a device busy. */
const BUSY = 131_072;

/**
 * A boosted model on a device. What the device gives are sums; the probability is made of them here, as on the CPU. Of trees alone the
 * sums are exact, so that probabilities are the CPU's to the bit: rows where the CPU's own rounding could show are scored again
 * on the CPU. With novelty detectors, whose float32 sums differ, rows within a measured band around a cut (a threshold by which
 * something is decided) are scored again, so that verdicts, kinds and states of certificates are the CPU's.
 */
export class DeviceModel {
  readonly #model: BoostedModel;
  /** Probabilities at and above which something else is decided. */
  readonly #cuts: readonly number[];
  readonly #categories: readonly number[];
  readonly #trees: PackedTrees;
  readonly #kinds: PackedTrees | undefined;
  readonly #novelty: PackedNovelty | undefined;
  readonly #tables: readonly (Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>)[];
  readonly #single = { probability: new Float32Array(1), kind: new Int16Array(1) };
  #band = 0;
  #drawn = 0;
  #counters = { rows: 0, again: 0, control: 0 };

  constructor(model: BoostedModel, cuts: readonly number[]) {
    const { detector, kindStage, novelty, columns, bias } = model.parts;
    this.#model = model;
    this.#cuts = [...new Set([model.threshold, ...cuts])];
    this.#categories = columns.map(({ categories }) => categories);
    this.#trees = packTrees(detector, [{ firstTree: 0, endTree: detector.roots.length }], bias);
    if (kindStage !== undefined) {
      const heads: TreeHead[] = [];
      for (const count of kindStage.treeCounts) {
        const firstTree = heads.at(-1)?.endTree ?? 0;
        heads.push({ firstTree, endTree: firstTree + count });
      }
      this.#kinds = packTrees(kindStage.ensemble, heads, Math.max(...kindStage.biases.map(Math.abs)));
    }
    this.#novelty = novelty && packNovelty(novelty, this.#categories);
    const ensembles = [this.#trees, this.#kinds, this.#novelty?.forest];
    this.#tables = [
      ...ensembles.flatMap((trees) => (trees ? [trees.nodes, trees.roots, trees.bitsets] : [])),
      ...(this.#novelty?.normals ? [this.#novelty.normals] : []),
      ...(this.#novelty?.layers ?? []).map(({ weights }) => weights),
    ];
  }

  /** What its tables take on a device. */
  get bytes(): Bytes {
    return this.#tables.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get counters(): DeviceModelCounters {
    return { ...this.#counters };
  }

  /** Half the width, in margin, of the band within which rows are scored again; 0 where the sums are exact. */
  get band(): number {
    return this.#band;
  }

  /** Why it does not fit a device; undefined where it does. */
  misfit(device: ScoringDevice): string | undefined {
    const largest = Math.max(...this.#tables.map(({ byteLength }) => byteLength));
    if (largest > MAX_BINDING) return `a table of ${largest} bytes, more than a device binds`;
    if (this.#partRows(device) >= MIN_PART_ROWS) return undefined;
    return `${this.bytes} bytes of tables, which leave no room for rows in a budget of ${device.budget}`;
  }

  /** Compares the device with the CPU and sets the band. Rejects `inference.device-lost`. */
  async check(device: ScoringDevice): Promise<DeviceCheck> {
    const values = this.rows(CHECKED_ROWS);
    const expected = new Float64Array(CHECKED_ROWS);
    const columns = this.#categories.length;
    for (let at = 0; at < CHECKED_ROWS; at += CHECKED_AT_ONCE) {
      const part = values.subarray(at * columns, (at + CHECKED_AT_ONCE) * columns);
      this.#model.margins(part, CHECKED_AT_ONCE, expected.subarray(at));
      await setImmediate();
    }
    const got = await device.inTurn(async (turn) => (await this.#sums(turn, values, CHECKED_ROWS)).margins);
    const { calibration } = this.#model.parts;
    let [margin, probability] = [0, 0];
    for (let r = 0; r < CHECKED_ROWS; r++) {
      const [a, b] = [expected[r] as number, got[r] as number];
      // Written so that a NaN counts.
      if (!(Math.abs(a - b) <= margin)) margin = Math.abs(a - b);
      const apart = Math.abs(calibrate(calibration, a) - calibrate(calibration, b));
      if (!(apart <= probability)) probability = apart;
    }
    const most = this.#isExact ? this.#trees.tolerance : Number.POSITIVE_INFINITY;
    this.#band = this.#isExact ? 0 : Math.max(LEAST_BAND, SAFETY * margin);
    if (probability <= AGREEMENT && margin <= most) return { margin, probability };
    return { margin, probability, refused: `differs from the CPU by ${Math.max(margin, probability)}` };
  }

  /** Rows like those of training, to check and measure with. */
  rows(count: number): Float32Array {
    return calibrationRows(this.#model.parts.columns, this.#model.parts.statistics, count);
  }

  /** The same on the CPU. */
  scoreOnCpu(values: Float32Array, rows: number, out: ScoreBatchBuffers): void {
    this.#model.score(values, rows, out);
  }

  /**
   * As `DetectionModel.score`, of checked arrays. After the signal neither values nor out are touched. Rejects
   * `inference.device-lost` where the device is gone or wrong, `inference.cancelled`.
   */
  async score(
    device: ScoringDevice,
    values: Float32Array,
    rows: number,
    out: ScoreBatchBuffers,
    signal?: AbortSignal,
  ): Promise<void> {
    const columns = this.#categories.length;
    const step = this.#partRows(device);
    for (let from = 0; from < rows; from += step) {
      const size = Math.min(step, rows - from);
      const part = values.subarray(from * columns, (from + size) * columns);
      const to = {
        probability: out.probability.subarray(from, from + size),
        kind: out.kind.subarray(from, from + size),
      };
      await device.inTurn((turn) => this.#part(turn, part, size, to, signal));
    }
  }

  forget(device: ScoringDevice): void {
    device.forget(this.#tables);
  }

  /** Whether the device gives the very sums of the CPU, but for their rounding. */
  get #isExact(): boolean {
    return this.#novelty === undefined;
  }

  async #part(
    turn: DeviceTurn,
    values: Float32Array,
    rows: number,
    out: ScoreBatchBuffers,
    signal?: AbortSignal,
  ): Promise<void> {
    if (signal?.aborted) throw withdrawn();
    const { margins, raw } = await this.#sums(turn, values, rows);
    if (signal?.aborted) throw withdrawn();
    const attacks = this.#finish(values, margins, rows, out);
    this.#counters.rows += rows;
    if (attacks.length > 0) {
      if (this.#kinds === undefined || attacks.length < KIND_ROWS) {
        for (const r of attacks) out.kind[r] = this.#model.bestKind(values, r);
      } else {
        const words = await this.#kindSums(turn, this.#kinds, raw, attacks);
        if (signal?.aborted) throw withdrawn();
        this.#nameKinds(this.#kinds, values, attacks, words, out);
      }
    }
    this.#control(values, rows, out);
  }

  /** Margins of rows, and where their values lie on the device. */
  async #sums(
    turn: DeviceTurn,
    values: Float32Array,
    rows: number,
  ): Promise<{ readonly margins: Float64Array; readonly raw: GPUBuffer }> {
    const raw = turn.upload('values', values);
    const columns = this.#categories.length;
    const passes: DevicePass[] = [];
    const reads: [GPUBuffer, Bytes][] = [];
    const trees = turn.output('tree sums', rows * 8);
    passes.push(treesPass(turn, this.#trees, { values: raw, columns, rows, results: trees }));
    reads.push([trees, rows * 8]);
    const slices = this.#novelty && this.#noveltyPasses(turn, this.#novelty, values, rows, passes, reads);
    const bytes = await turn.run(passes, reads);
    const margins = new Float64Array(rows);
    const { bias, novelty } = this.#model.parts;
    const { unit } = this.#trees;
    const words = new Uint32Array(bytes, 0, rows * 2);
    for (let r = 0; r < rows; r++) {
      margins[r] = bias + fromFixed(words[2 * r] as number, words[2 * r + 1] as number, unit);
    }
    if (novelty !== undefined && this.#novelty !== undefined) {
      addLevels(novelty, this.#novelty, bytes, { rows, slices: slices ?? 0, at: align(rows * 8) }, margins);
    }
    return { margins, raw };
  }

  /** Adds what the detectors need; gives into how many slices the normal rows are cut. */
  #noveltyPasses(
    turn: DeviceTurn,
    novelty: PackedNovelty,
    values: Float32Array,
    rows: number,
    passes: DevicePass[],
    reads: [GPUBuffer, Bytes][],
  ): number {
    const { forest, normals, layers, vectors } = novelty;
    const points = turn.upload('points', this.#encode(turn, novelty, values, rows));
    if (forest !== undefined) {
      const results = turn.output('depths', rows * 8);
      passes.push(treesPass(turn, forest, { values: points, columns: vectors * 4, rows, results }));
      reads.push([results, rows * 8]);
    }
    let slices = 0;
    if (normals !== undefined) {
      const count = normals.length / (vectors * 4);
      slices = Math.max(1, Math.min(32, count >> 4, Math.ceil(BUSY / rows)));
      const results = turn.output('distances', rows * slices * 4);
      passes.push({
        shader: NEAREST_SHADER,
        shape: [rows, vectors, count, slices],
        buffers: [points, turn.table(normals), results],
        x: workgroups(rows),
        y: slices,
      });
      reads.push([results, rows * slices * 4]);
    }
    if (layers !== undefined) {
      let input = points;
      layers.forEach(({ inputs, outputs, weights }, l) => {
        const result = turn.between(`layer ${l}`, rows * outputs * 16);
        passes.push({
          shader: LAYER_SHADER,
          shape: [rows, inputs, outputs, l + 1 < layers.length ? 1 : 0],
          buffers: [input, turn.table(weights), result],
          x: workgroups(rows * outputs),
        });
        input = result;
      });
      const results = turn.output('errors', rows * 4);
      passes.push({
        shader: ERROR_SHADER,
        shape: [rows, vectors],
        buffers: [points, input, results],
        x: workgroups(rows),
      });
      reads.push([results, rows * 4]);
    }
    return slices;
  }

  /** Encoded here, so that the points are the CPU's to the bit. */
  #encode(turn: DeviceTurn, novelty: PackedNovelty, values: Float32Array, rows: number): Float32Array {
    const { width, vectors } = novelty;
    const { encoding } = this.#model.parts.novelty as NoveltyParts;
    const stride = vectors * 4;
    const points = turn.staging(rows * stride);
    encodePoints(encoding, this.#categories, values, 0, rows, points);
    // Spread out in place, from the last row on: a row never overtakes one that is still to be moved.
    if (stride !== width) {
      for (let r = rows - 1; r >= 0; r--) {
        points.copyWithin(r * stride, r * width, (r + 1) * width);
        points.fill(0, r * stride + width, (r + 1) * stride);
      }
    }
    return points;
  }

  /** Probabilities from margins; scores again what may not be left to the device. Gives the attacks that need a name. */
  #finish(values: Float32Array, margins: Float64Array, rows: number, out: ScoreBatchBuffers): number[] {
    const { calibration, threshold } = this.#model.parts;
    const attacks: number[] = [];
    // A change dm of the margin changes p by p (1 - p) slope dm: by no more than slope dm, relative, and a quarter of it at all.
    const relative = calibration.slope * this.#trees.tolerance + CALIBRATION_ROUNDING;
    const around = (calibration.slope * this.#band) / 4 + 2 * HALF_ULP;
    for (let r = 0; r < rows; r++) {
      const exact = calibrate(calibration, margins[r] as number);
      const p = Math.fround(exact);
      const isUnsure = this.#isExact
        ? Math.fround(exact * (1 - relative)) !== p || Math.fround(exact * (1 + relative)) !== p
        : this.#isNearCut(exact, around);
      // A NaN goes to the CPU, too.
      if (isUnsure || !(p >= 0)) {
        this.#again(values, r, out);
        this.#counters.again++;
        continue;
      }
      out.probability[r] = p;
      out.kind[r] = -1;
      if (p >= threshold && this.#kinds !== undefined) attacks.push(r);
    }
    return attacks;
  }

  #isNearCut(p: number, around: number): boolean {
    for (const cut of this.#cuts) if (Math.abs(p - cut) <= around) return true;
    return false;
  }

  async #kindSums(
    turn: DeviceTurn,
    kinds: PackedTrees,
    values: GPUBuffer,
    attacks: readonly number[],
  ): Promise<Uint32Array> {
    const rows = attacks.length;
    const order = turn.upload('order', Uint32Array.from(attacks));
    const results = turn.output('kind sums', rows * kinds.heads * 8);
    const columns = this.#categories.length;
    const pass = treesPass(turn, kinds, { values, columns, rows, results, order });
    return new Uint32Array(await turn.run([pass], [[results, rows * kinds.heads * 8]]));
  }

  /** The first of the largest; where two are too close to tell, the CPU tells. */
  #nameKinds(
    kinds: PackedTrees,
    values: Float32Array,
    attacks: readonly number[],
    words: Uint32Array,
    out: ScoreBatchBuffers,
  ): void {
    const { heads, unit, tolerance } = kinds;
    const biases = this.#model.parts.kindStage?.biases ?? [];
    attacks.forEach((r, a) => {
      let best = -1;
      let [first, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
      for (let k = 0; k < heads; k++) {
        const at = (a * heads + k) * 2;
        const sum = (biases[k] as number) + fromFixed(words[at] as number, words[at + 1] as number, unit);
        if (sum > first) {
          second = first;
          first = sum;
          best = k;
        } else if (sum > second) second = sum;
      }
      out.kind[r] = first - second > 2 * tolerance ? best : this.#model.bestKind(values, r);
    });
  }

  #again(values: Float32Array, r: number, out: ScoreBatchBuffers): void {
    const columns = this.#categories.length;
    this.#model.score(values.subarray(r * columns, (r + 1) * columns), 1, this.#single);
    out.probability[r] = this.#single.probability[0] as number;
    out.kind[r] = this.#single.kind[0] as number;
  }

  /** A few rows of every batch by both: a device that was right once may not stay so. Throws `inference.device-lost`. */
  #control(values: Float32Array, rows: number, out: ScoreBatchBuffers): void {
    const columns = this.#categories.length;
    for (let i = 0; i * CONTROL_EVERY < rows; i++) {
      this.#drawn = (Math.imul(this.#drawn, 1_664_525) + 1_013_904_223) >>> 0;
      const r = this.#drawn % rows;
      this.#model.score(values.subarray(r * columns, (r + 1) * columns), 1, this.#single);
      const [ours] = this.#single.probability as unknown as [number];
      const theirs = out.probability[r] as number;
      this.#counters.control++;
      const isRight = this.#isExact ? ours === theirs : Math.abs(ours - theirs) <= AGREEMENT;
      if (!isRight || this.#single.kind[0] !== out.kind[r]) {
        throw new InferenceError('inference.device-wrong', `the device gave ${theirs}, the CPU ${ours}`);
      }
    }
  }

  /** So that no binding, dispatch or budget is exceeded. */
  #partRows(device: ScoringDevice): number {
    const { vectors = 0, layers = [] } = this.#novelty ?? {};
    const widest = Math.max(0, ...layers.map(({ outputs }) => outputs * 16));
    const inner = layers.reduce((sum, { outputs }) => sum + outputs * 16, 0);
    const kinds = (this.#kinds?.heads ?? 0) * 8;
    const columns = this.#categories.length;
    // Uploads and results, results once more to be read back; a buffer is rounded up to a power of two.
    const perRow = 2 * (columns * 4 + vectors * 16 + inner + 2 * (8 + 8 + 4 + kinds) + 4);
    // Slices of distances, in the same way.
    const slices = this.#novelty?.normals === undefined ? 0 : 16 * BUSY;
    const room = device.budget - this.bytes - slices;
    const bound = MAX_BINDING / 2 / Math.max(columns * 4, vectors * 16, widest, kinds, 8);
    return Math.floor(Math.min(PART_ROWS, bound, room / perRow));
  }
}

interface TreesWork {
  readonly values: GPUBuffer;
  readonly columns: number;
  readonly rows: number;
  readonly results: GPUBuffer;
  /** Which rows; all where it is left out. */
  readonly order?: GPUBuffer;
}

function treesPass(turn: DeviceTurn, trees: PackedTrees, work: TreesWork): DevicePass {
  const { values, columns, rows, results, order } = work;
  const [nodes, roots, bitsets] = [
    turn.table(trees.nodes),
    turn.table(trees.roots),
    turn.table(trees.bitsets),
  ];
  const wanted = Math.ceil(BUSY / (rows * trees.heads));
  const groups = 2 ** Math.max(0, Math.min(6, Math.ceil(Math.log2(wanted))));
  return {
    shader: TREES_SHADER,
    shape: [rows, columns, trees.heads, groups, order === undefined ? 0 : 1],
    // Not read where all rows are meant; something must be bound.
    buffers: [values, nodes, roots, bitsets, order ?? roots, results],
    x: Math.ceil(rows / (WORKGROUP / groups)),
    y: trees.heads,
  };
}

/** Adds the weighted levels, from what the detectors measured: as `NoveltyDetectors.addLevels`. */
function addLevels(
  { tails, weights, cap }: NoveltyParts,
  novelty: PackedNovelty,
  bytes: ArrayBuffer,
  { rows, slices, at }: { readonly rows: number; readonly slices: number; readonly at: number },
  margins: Float64Array,
): void {
  let from = at;
  const depths = novelty.forest && new Uint32Array(bytes, from, rows * 2);
  if (depths !== undefined) from += align(rows * 8);
  const distances = novelty.normals && new Float32Array(bytes, from, rows * slices);
  if (distances !== undefined) from += align(rows * slices * 4);
  const errors = novelty.layers && new Float32Array(bytes, from, rows);
  for (let r = 0; r < rows; r++) {
    let level = 0;
    if (distances !== undefined) {
      let nearest = Number.POSITIVE_INFINITY;
      for (let s = r * slices; s < (r + 1) * slices; s++) nearest = Math.min(nearest, distances[s] as number);
      level += weights.distance * tailLevel(tails.distance, Math.sqrt(nearest), cap);
    } else if (weights.distance > 0) {
      level += weights.distance * tailLevel(tails.distance, Number.POSITIVE_INFINITY, cap);
    }
    if (depths !== undefined) {
      const depth = fromFixed(
        depths[2 * r] as number,
        depths[2 * r + 1] as number,
        (novelty.forest as PackedTrees).unit,
      );
      level += weights.isolation * tailLevel(tails.isolation, depth, cap);
    }
    if (errors !== undefined) {
      level += weights.reconstruction * tailLevel(tails.reconstruction, Math.sqrt(errors[r] as number), cap);
    }
    margins[r] = (margins[r] as number) + level;
  }
}

function withdrawn(): InferenceError {
  return new InferenceError('inference.cancelled', 'the batch was withdrawn');
}
