import { setImmediate } from 'node:timers/promises';
import type { Bytes } from '../../base/index.ts';
import { type BoostedModel, calibrate, type ScoreBatchBuffers } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';
import { calibrationRows } from './calibration-rows.ts';
import { addLevels, type DeviceNovelty, noveltyWork } from './novelty-work.ts';
import { packNovelty } from './packed-novelty.ts';
import { fromFixed, type PackedTrees, packTrees, type TreeHead } from './packed-trees.ts';
import { align, type DeviceTurn, MAX_BINDING, type ScoringDevice } from './scoring-device.ts';
import { BUSY, treesPass } from './trees-pass.ts';

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
  readonly #novelty: DeviceNovelty | undefined;
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
    const categories = this.#categories;
    const packed = novelty && packNovelty(novelty, categories);
    this.#novelty = novelty && packed && { parts: novelty, packed, categories };
    const ensembles = [this.#trees, this.#kinds, packed?.forest];
    this.#tables = [
      ...ensembles.flatMap((trees) => (trees ? [trees.nodes, trees.roots, trees.bitsets] : [])),
      ...(packed?.normals ? [packed.normals] : []),
      ...(packed?.layers ?? []).map(({ weights }) => weights),
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
    const sums = turn.output('tree sums', rows * 8);
    const trees = treesPass(turn, this.#trees, { values: raw, columns, rows, results: sums });
    const novelty = this.#novelty;
    const work = novelty && noveltyWork(turn, novelty, values, rows);
    const { passes = [], reads = [] } = work ?? {};
    const bytes = await turn.run([trees, ...passes], [[sums, rows * 8], ...reads]);
    const margins = new Float64Array(rows);
    const { bias } = this.#model.parts;
    const { unit } = this.#trees;
    const words = new Uint32Array(bytes, 0, rows * 2);
    for (let r = 0; r < rows; r++) {
      margins[r] = bias + fromFixed(words[2 * r] as number, words[2 * r + 1] as number, unit);
    }
    if (novelty !== undefined && work !== undefined) {
      addLevels(novelty, bytes, { slices: work.slices, at: align(rows * 8) }, margins);
    }
    return { margins, raw };
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
      const ours = this.#single.probability[0] as number;
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
    const { vectors = 0, layers = [], normals } = this.#novelty?.packed ?? {};
    const widest = Math.max(0, ...layers.map(({ outputs }) => outputs * 16));
    const inner = layers.reduce((sum, { outputs }) => sum + outputs * 16, 0);
    const kinds = (this.#kinds?.heads ?? 0) * 8;
    const columns = this.#categories.length;
    // Uploads and results, results once more to be read back; a buffer is rounded up to a power of two.
    const perRow = 2 * (columns * 4 + vectors * 16 + inner + 2 * (8 + 8 + 4 + kinds) + 4);
    // Slices of distances, in the same way.
    const slices = normals === undefined ? 0 : 16 * BUSY;
    const room = device.budget - this.bytes - slices;
    const bound = MAX_BINDING / 2 / Math.max(columns * 4, vectors * 16, widest, kinds, 8);
    return Math.floor(Math.min(PART_ROWS, bound, room / perRow));
  }
}

function withdrawn(): InferenceError {
  return new InferenceError('inference.cancelled', 'the batch was withdrawn');
}
