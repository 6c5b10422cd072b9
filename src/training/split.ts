import { type Binning, type ColumnBins, MISSING_BIN } from './binning.ts';
import type { TrainingConfig } from './config.ts';
import type { LeafState } from './histogram-source.ts';
import type { QuantizationScales } from './quantization.ts';

/** The best way to cut a leaf in two. */
export interface Split {
  /** How much the loss falls, in second order. */
  readonly gain: number;
  /** Index into the binning's columns. */
  readonly feature: number;
  /** Uint8Array, one a bin: 1 goes left. Entry MISSING_BIN holds for missing and for what the leaf never saw. */
  readonly left: Uint8Array;
  /** Number: bins 1 to lastLeft go left. Category: 0. */
  readonly lastLeft: number;
  /** Monotone column: what both sides' values are kept on either side of. */
  readonly middle?: number;
}

export type SplitLimits = Pick<
  TrainingConfig,
  'l1' | 'l2' | 'minRowsPerLeaf' | 'minHessian' | 'minGain' | 'categoricalL2' | 'categoricalSmoothing'
>;

/** What a leaf's value has to lie between, before it is shrunk. */
export interface ValueBounds {
  readonly low: number;
  readonly high: number;
}

export const UNBOUNDED: ValueBounds = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };

/** What is found while a column is scanned; one object is reused. */
interface Best {
  gain: number;
  feature: number;
  lastLeft: number;
  missingLeft: boolean;
  /** Category: the bins that go left. */
  bins: readonly number[] | undefined;
  middle: number;
}

/**
 * Finds splits. Gains are in units of whole levels, the score of a side being G^2 / (H + l2), until the best is known. The
 * rows of a side are taken to be in proportion to its hessians, since histograms hold no counts. One finder serves one run.
 */
export class SplitFinder {
  readonly #binning: Binning;
  readonly #limits: SplitLimits;
  readonly #scales: QuantizationScales;
  /** One a column: 1 rises, -1 falls, 0 free. */
  readonly #monotone: Int8Array;
  /** Penalties in levels. */
  readonly #l1: number;
  readonly #l2: number;
  /** A score of 1 in units of the loss. */
  readonly #unit: number;
  // Of the leaf in hand.
  #g = 0;
  #h = 0;
  #minimum = 0;
  #bounds: ValueBounds = UNBOUNDED;

  constructor(
    binning: Binning,
    scales: QuantizationScales,
    limits: SplitLimits,
    monotone: Int8Array = new Int8Array(binning.columns.length),
  ) {
    this.#binning = binning;
    this.#limits = limits;
    this.#scales = scales;
    this.#monotone = monotone;
    this.#l1 = limits.l1 / scales.gradient;
    this.#l2 = limits.l2 / scales.hessian;
    this.#unit = scales.gradient ** 2 / scales.hessian / 2;
  }

  /**
   * The split with the largest gain among `features`; undefined where none is above minGain with enough rows and hessian
   * on both sides. Ties go to the first column and bin.
   */
  find(
    { histogram, rows }: LeafState,
    features: readonly number[],
    bounds: ValueBounds = UNBOUNDED,
  ): Split | undefined {
    const { columns, offsets } = this.#binning;
    const plane = histogram.length / 2;
    const [first] = features;
    if (first === undefined) return undefined;
    this.#g = 0;
    this.#h = 0;
    for (let i = offsets[first] as number; i < (offsets[first + 1] as number); i++) {
      this.#g += histogram[i] as number;
      this.#h += histogram[plane + i] as number;
    }
    const { minRowsPerLeaf, minHessian, minGain } = this.#limits;
    this.#minimum = Math.max(1, (minRowsPerLeaf * this.#h) / rows, minHessian / this.#scales.hessian);
    if (2 * this.#minimum > this.#h) return undefined;
    this.#bounds = bounds;
    const isBounded = bounds !== UNBOUNDED;
    const parent = isBounded
      ? this.#boundedScore(this.#g, this.#h, this.#value(this.#g, this.#h))
      : this.#score(this.#g, this.#h, this.#l2);
    const best: Best = {
      ...{ gain: parent + minGain / this.#unit, feature: -1, lastLeft: 0, missingLeft: false },
      ...{ bins: undefined, middle: 0 },
    };
    for (const feature of features) {
      const column = columns[feature] as ColumnBins;
      const at = offsets[feature] as number;
      if (column.categories !== undefined) this.#scanCategories(histogram, feature, at, plane, best);
      else if (isBounded || this.#monotone[feature] !== 0)
        this.#scanBounded(histogram, feature, at, plane, best);
      else this.#scanNumber(histogram, feature, at, plane, best);
    }
    if (best.feature === -1) return undefined;
    const { feature, lastLeft, middle } = best;
    const gain = (best.gain - parent) * this.#unit;
    const isMonotone = this.#monotone[feature] !== 0;
    return {
      gain,
      feature,
      left: this.#table(histogram, plane, best),
      lastLeft,
      ...(isMonotone && { middle }),
    };
  }

  /** The value of a leaf with these exact sums: within the bounds, unshrunk. `unit`: what 1 is in the sums. */
  leafValue(gradient: number, hessian: number, unit: number, bounds: ValueBounds): number {
    const denominator = hessian + this.#limits.l2 * unit;
    const value = denominator > 0 ? -shrink(gradient, this.#limits.l1 * unit) / denominator : 0;
    return Math.max(bounds.low, Math.min(bounds.high, value));
  }

  #table(histogram: Int32Array, plane: number, best: Best): Uint8Array {
    const left = new Uint8Array(256);
    if (best.bins === undefined) left.fill(1, 1, best.lastLeft + 1);
    else {
      // Bins that this leaf never saw go where missing goes.
      left.fill(best.missingLeft ? 1 : 0);
      const at = this.#binning.offsets[best.feature] as number;
      const bins = this.#binning.columns[best.feature]?.bins ?? 0;
      for (let b = 1; b < bins; b++) {
        if (isSeen(histogram, plane, at + b)) left[b] = best.bins.includes(b) ? 1 : 0;
      }
    }
    left[MISSING_BIN] = best.missingLeft ? 1 : 0;
    return left;
  }

  /** Hot: some thousand cuts a leaf. */
  #scanNumber(histogram: Int32Array, feature: number, at: number, plane: number, best: Best): void {
    const [minimum, l1, l2] = [this.#minimum, this.#l1, this.#l2];
    const [allG, allH] = [this.#g, this.#h];
    const bins = (this.#binning.columns[feature] as ColumnBins).bins;
    const missingG = histogram[at] as number;
    const missingH = histogram[plane + at] as number;
    const isMissing = missingG !== 0 || missingH !== 0;
    // With the last bin left of the cut, all that stays right is what is missing.
    const end = at + (isMissing ? bins : bins - 1);
    let [g, h] = [0, 0];
    let top = best.gain;
    for (let i = at + 1; i < end; i++) {
      const binG = histogram[i] as number;
      const binH = histogram[plane + i] as number;
      if (binG === 0 && binH === 0) continue;
      g += binG;
      h += binH;
      const rest = allH - h;
      if (h >= minimum && rest >= minimum) {
        const a = l1 === 0 ? g : shrink(g, l1);
        const b = l1 === 0 ? allG - g : shrink(allG - g, l1);
        const score = (a * a) / (h + l2) + (b * b) / (rest + l2);
        if (score > top) {
          top = score;
          best.feature = feature;
          best.lastLeft = i - at;
          // Where nothing is missing, what will be missing later follows the larger side.
          best.missingLeft = !isMissing && 2 * h > allH;
          best.bins = undefined;
        }
      }
      if (!isMissing) continue;
      const h2 = h + missingH;
      if (h2 < minimum || allH - h2 < minimum) continue;
      const score = this.#score(g + missingG, h2, l2) + this.#score(allG - g - missingG, allH - h2, l2);
      if (score > top) {
        top = score;
        best.feature = feature;
        best.lastLeft = i - at;
        best.missingLeft = true;
        best.bins = undefined;
      }
    }
    best.gain = top;
  }

  /** The same where values are bounded, or the column is monotone: scores at the values that the bounds leave. */
  #scanBounded(histogram: Int32Array, feature: number, at: number, plane: number, best: Best): void {
    const direction = this.#monotone[feature] as number;
    const bins = (this.#binning.columns[feature] as ColumnBins).bins;
    const missingG = histogram[at] as number;
    const missingH = histogram[plane + at] as number;
    const isMissing = missingG !== 0 || missingH !== 0;
    let [g, h] = [0, 0];
    for (let b = 1; b < (isMissing ? bins : bins - 1); b++) {
      if (!isSeen(histogram, plane, at + b)) continue;
      g += histogram[at + b] as number;
      h += histogram[plane + at + b] as number;
      for (const withMissing of isMissing ? [false, true] : [false]) {
        const [lg, lh] = withMissing ? [g + missingG, h + missingH] : [g, h];
        const [rg, rh] = [this.#g - lg, this.#h - lh];
        if (lh < this.#minimum || rh < this.#minimum) continue;
        const [left, right] = [this.#value(lg, lh), this.#value(rg, rh)];
        if (direction * (right - left) < 0) continue;
        const gain = this.#boundedScore(lg, lh, left) + this.#boundedScore(rg, rh, right);
        if (gain <= best.gain) continue;
        const missingLeft = isMissing ? withMissing : 2 * h > this.#h;
        const middle = (left + right) / 2;
        Object.assign(best, { gain, feature, lastLeft: b, missingLeft, bins: undefined, middle });
      }
    }
  }

  /** Sorted by gradient statistic, the best subset is a prefix (Fisher, 1958). Missing counts as a category. */
  #scanCategories(histogram: Int32Array, feature: number, at: number, plane: number, best: Best): void {
    const { categoricalSmoothing, categoricalL2 } = this.#limits;
    const { gradient, hessian } = this.#scales;
    const entries: { b: number; g: number; h: number; key: number }[] = [];
    const bins = (this.#binning.columns[feature] as ColumnBins).bins;
    for (let b = 0; b < bins; b++) {
      if (!isSeen(histogram, plane, at + b)) continue;
      const [g, h] = [histogram[at + b] as number, histogram[plane + at + b] as number];
      entries.push({ b, g, h, key: (g * gradient) / (h * hessian + categoricalSmoothing) });
    }
    entries.sort((x, y) => x.key - y.key || x.b - y.b);
    const hasMissing = entries.some(({ b }) => b === MISSING_BIN);
    const l2 = categoricalL2 / hessian;
    const isBounded = this.#bounds !== UNBOUNDED;
    // The penalty of categories counts for the whole leaf too, or it would be a toll on the split.
    const toll = isBounded ? 0 : this.#score(this.#g, this.#h, this.#l2) - this.#score(this.#g, this.#h, l2);
    let missingLeft = false;
    let [g, h] = [0, 0];
    for (let i = 0; i + 1 < entries.length; i++) {
      const entry = entries[i] as (typeof entries)[number];
      g += entry.g;
      h += entry.h;
      if (entry.b === MISSING_BIN) missingLeft = true;
      const [rg, rh] = [this.#g - g, this.#h - h];
      if (h < this.#minimum || rh < this.#minimum) continue;
      const gain = isBounded
        ? this.#boundedScore(g, h, this.#value(g, h)) + this.#boundedScore(rg, rh, this.#value(rg, rh))
        : this.#score(g, h, l2) + this.#score(rg, rh, l2) + toll;
      if (gain <= best.gain) continue;
      Object.assign(best, {
        gain,
        feature,
        lastLeft: 0,
        missingLeft: hasMissing ? missingLeft : 2 * h > this.#h,
      });
      best.bins = entries.slice(0, i + 1).map(({ b }) => b);
    }
  }

  #score(g: number, h: number, l2: number): number {
    const t = shrink(g, this.#l1);
    return (t * t) / (h + l2);
  }

  /** Value of a side in the bounds, unshrunk. */
  #value(g: number, h: number): number {
    const { gradient, hessian } = this.#scales;
    const value = (-shrink(g, this.#l1) / (h + this.#l2)) * (gradient / hessian);
    return Math.max(this.#bounds.low, Math.min(this.#bounds.high, value));
  }

  /** Twice the fall of the loss when a side takes this value, in levels; equals `#score` at the best value. */
  #boundedScore(g: number, h: number, value: number): number {
    const v = (value * this.#scales.hessian) / this.#scales.gradient;
    return -(2 * shrink(g, this.#l1) * v + (h + this.#l2) * v * v);
  }
}

/** Soft threshold: towards 0 by `by`. */
function shrink(g: number, by: number): number {
  return g > by ? g - by : g < -by ? g + by : 0;
}

function isSeen(histogram: Int32Array, plane: number, at: number): boolean {
  return histogram[at] !== 0 || histogram[plane + at] !== 0;
}
