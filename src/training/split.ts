import { type Binning, MISSING_BIN } from './binning.ts';
import type { TrainingConfig } from './config.ts';
import { HISTOGRAM_STRIDE } from './histogram.ts';
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
}

export type SplitLimits = Pick<
  TrainingConfig,
  'l2' | 'minRowsPerLeaf' | 'minHessian' | 'minGain' | 'categoricalL2' | 'categoricalSmoothing'
>;

/** What is found while a column is scanned; one object is reused. */
interface Best {
  gain: number;
  feature: number;
  lastLeft: number;
  missingLeft: boolean;
  /** Category: the bins that go left. */
  bins: readonly number[] | undefined;
}

interface Totals {
  readonly g: number;
  readonly h: number;
  readonly n: number;
}

/** Finds splits. One finder serves one training run. */
export class SplitFinder {
  readonly #binning: Binning;
  readonly #scales: QuantizationScales;
  readonly #limits: SplitLimits;

  constructor(binning: Binning, scales: QuantizationScales, limits: SplitLimits) {
    this.#binning = binning;
    this.#scales = scales;
    this.#limits = limits;
  }

  /**
   * The split with the largest gain GL^2/(HL+l2) + GR^2/(HR+l2) - G^2/(H+l2), halved, among `features`; undefined where
   * none is above minGain with enough rows and hessian on both sides. Ties go to the first column and bin.
   */
  find(histogram: Int32Array, features: readonly number[]): Split | undefined {
    const best: Best = {
      gain: this.#limits.minGain,
      feature: -1,
      lastLeft: 0,
      missingLeft: false,
      bins: undefined,
    };
    for (const feature of features) {
      const totals = this.#totals(histogram, feature);
      if (this.#binning.columns[feature]?.categories === undefined) {
        this.#scanNumber(histogram, feature, totals, best);
      } else this.#scanCategories(histogram, feature, totals, best);
    }
    if (best.feature === -1) return undefined;
    const left = new Uint8Array(256);
    if (best.bins === undefined) left.fill(1, 1, best.lastLeft + 1);
    else {
      // Bins that this leaf never saw go where missing goes.
      left.fill(best.missingLeft ? 1 : 0);
      const first = this.#first(best.feature);
      for (let b = 1; b < (this.#binning.columns[best.feature]?.bins ?? 0); b++) {
        if (histogram[first + b * HISTOGRAM_STRIDE + 2] !== 0) left[b] = best.bins.includes(b) ? 1 : 0;
      }
    }
    left[MISSING_BIN] = best.missingLeft ? 1 : 0;
    return { gain: best.gain, feature: best.feature, left, lastLeft: best.lastLeft };
  }

  #first(feature: number): number {
    return (this.#binning.offsets[feature] as number) * HISTOGRAM_STRIDE;
  }

  #totals(histogram: Int32Array, feature: number): Totals {
    let [g, h, n] = [0, 0, 0];
    const end = this.#first(feature + 1);
    for (let i = this.#first(feature); i < end; i += HISTOGRAM_STRIDE) {
      g += histogram[i] as number;
      h += histogram[i + 1] as number;
      n += histogram[i + 2] as number;
    }
    return { g, h, n };
  }

  #scanNumber(histogram: Int32Array, feature: number, totals: Totals, best: Best): void {
    const first = this.#first(feature);
    const missing = {
      g: histogram[first] as number,
      h: histogram[first + 1] as number,
      n: histogram[first + 2] as number,
    };
    const bins = this.#binning.columns[feature]?.bins ?? 0;
    let [g, h, n] = [0, 0, 0];
    // With the last bin left of the cut, all that stays right is what is missing.
    const lastCut = missing.n > 0 ? bins - 1 : bins - 2;
    for (let b = 1; b <= lastCut; b++) {
      const at = first + b * HISTOGRAM_STRIDE;
      if (histogram[at + 2] === 0) continue;
      g += histogram[at] as number;
      h += histogram[at + 1] as number;
      n += histogram[at + 2] as number;
      const gain = this.#gain(g, h, n, totals, this.#limits.l2);
      if (gain > best.gain) {
        // Where nothing is missing, what will be missing later follows the larger side.
        const missingLeft = missing.n === 0 && 2 * n > totals.n;
        Object.assign(best, { gain, feature, lastLeft: b, missingLeft, bins: undefined });
      }
      if (missing.n === 0) continue;
      const withMissing = this.#gain(g + missing.g, h + missing.h, n + missing.n, totals, this.#limits.l2);
      if (withMissing > best.gain) {
        Object.assign(best, { gain: withMissing, feature, lastLeft: b, missingLeft: true, bins: undefined });
      }
    }
  }

  /** Sorted by gradient statistic, the best subset is a prefix (Fisher, 1958). Missing counts as a category. */
  #scanCategories(histogram: Int32Array, feature: number, totals: Totals, best: Best): void {
    const first = this.#first(feature);
    const entries: { b: number; g: number; h: number; n: number; key: number }[] = [];
    for (let b = 0; b < (this.#binning.columns[feature]?.bins ?? 0); b++) {
      const at = first + b * HISTOGRAM_STRIDE;
      const [g, h, n] = [histogram[at] as number, histogram[at + 1] as number, histogram[at + 2] as number];
      if (n === 0) continue;
      const key =
        (g * this.#scales.gradient) / (h * this.#scales.hessian + this.#limits.categoricalSmoothing);
      entries.push({ b, g, h, n, key });
    }
    entries.sort((x, y) => x.key - y.key || x.b - y.b);
    const hasMissing = entries.some(({ b }) => b === MISSING_BIN);
    let missingLeft = false;
    let [g, h, n] = [0, 0, 0];
    for (let i = 0; i + 1 < entries.length; i++) {
      const entry = entries[i] as (typeof entries)[number];
      g += entry.g;
      h += entry.h;
      n += entry.n;
      if (entry.b === MISSING_BIN) missingLeft = true;
      const gain = this.#gain(g, h, n, totals, this.#limits.categoricalL2);
      if (gain <= best.gain) continue;
      Object.assign(best, {
        gain,
        feature,
        lastLeft: 0,
        missingLeft: hasMissing ? missingLeft : 2 * n > totals.n,
        bins: entries.slice(0, i + 1).map(({ b }) => b),
      });
    }
  }

  /** -Infinity where a side has too few rows or too little hessian. */
  #gain(g: number, h: number, n: number, totals: Totals, l2: number): number {
    const { minRowsPerLeaf, minHessian } = this.#limits;
    const left = h * this.#scales.hessian;
    const right = (totals.h - h) * this.#scales.hessian;
    if (n < minRowsPerLeaf || totals.n - n < minRowsPerLeaf || left < minHessian || right < minHessian) {
      return Number.NEGATIVE_INFINITY;
    }
    const gl = g * this.#scales.gradient;
    const gr = (totals.g - g) * this.#scales.gradient;
    const all = gl + gr;
    return ((gl * gl) / (left + l2) + (gr * gr) / (right + l2) - (all * all) / (left + right + l2)) / 2;
  }
}
