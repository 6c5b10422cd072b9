import type { Digest, Probability } from '../base/index.ts';
import { type Calibration, calibrate } from './calibration.ts';
import { CompiledEnsemble } from './compiled-ensemble.ts';
import { addPathContributions, nodeMeans } from './contributions.ts';
import { deterministicExp } from './deterministic-math.ts';
import { ModelError } from './errors.ts';
import { type Novelty, NoveltyDetectors, type NoveltyParts } from './hybrid/novelty-detectors.ts';
import type { FittedStatistics } from './statistics.ts';
import { addMargins, type TreeEnsemble } from './tree-ensemble.ts';
import { TreeShap } from './tree-shap.ts';

/** Where `score` writes, one entry a row; owned by the caller, at least as long as the rows. */
export interface ScoreBatchBuffers {
  /** Calibrated P(attack). */
  readonly probability: Float32Array;
  /** Index into the model's kinds; -1 where no kind was named. */
  readonly kind: Int16Array;
}

/** Scores of a batch. */
export interface ScoreBatch extends ScoreBatchBuffers {
  readonly rows: number;
}

/** What one column did to one row's margin, in log-odds. */
export interface Contribution {
  readonly column: string;
  /** The row's value; a category by its index, NaN where missing. */
  readonly value: number;
  /** Positive speaks for attack. */
  readonly contribution: number;
}

/** `balanced` finds more, `quiet` is wrong less often about normal traffic. */
export const OPERATING_POINTS = ['balanced', 'quiet'] as const;
export type OperatingPointName = (typeof OPERATING_POINTS)[number];

/** A threshold and the false positive rate it was chosen for, on normal training traffic that the fit had not seen. */
export interface OperatingPoint {
  readonly name: OperatingPointName;
  readonly threshold: Probability;
  readonly nominalFpr: Probability;
}

/** A trained detector, whatever it is made of. */
export interface DetectionModel {
  readonly schemaId: Digest;
  readonly columnNames: readonly string[];
  /** Attack kinds it can name; may be empty. */
  readonly kinds: readonly string[];
  readonly sourceKinds: readonly string[];
  /** At or above it a row counts as attack; chosen on training data only. */
  readonly threshold: Probability;
  /** Values: Float32Array, row-major rows x columns. Throws models.shape-mismatch. */
  score(values: Float32Array, rows: number, out: ScoreBatchBuffers): void;
  /** The columns that moved this row most, strongest first; at most `limit` (5). */
  explain(row: Float32Array, limit?: number): readonly Contribution[];
  /**
   * As `explain`, but exact Shapley values of the trees (path dependent) in place of path contributions. Absent where a
   * model has none. Takes milliseconds: for rows that are looked at.
   */
  explainExactly?(row: Float32Array, limit?: number): readonly Contribution[];
  /** Thresholds to choose among; the model's own is one of them. Absent or empty where there is but one. */
  readonly operatingPoints?: readonly OperatingPoint[];
  /** The same model at another of its thresholds. Throws models.argument-invalid where it has none of that name. */
  at?(name: OperatingPointName): DetectionModel;
  /** Whether a row is like anything in training; undefined where the model cannot tell. Not for every row: it searches. */
  novelty?(row: Float32Array): Novelty | undefined;
}

/** A column as the model knows it. */
export interface ModelColumn {
  readonly name: string;
  /** Number of categories, 1 to 256; 0 for a number. */
  readonly categories: number;
}

/** Small ensembles, one a kind, fitted on attack rows only, each against the rest. */
export interface KindStage {
  readonly biases: readonly number[];
  /** Trees of each kind, in the order of the kinds; they add up to the ensemble's trees. */
  readonly treeCounts: readonly number[];
  readonly ensemble: TreeEnsemble;
}

/** Everything a boosted model consists of; what the file holds. */
export interface BoostedModelParts {
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly columns: readonly ModelColumn[];
  readonly kinds: readonly string[];
  readonly threshold: Probability;
  readonly bias: number;
  readonly detector: TreeEnsemble;
  readonly calibration: Calibration;
  readonly kindStage?: KindStage;
  readonly statistics: FittedStatistics;
  /** Detectors of what differs from normal traffic; their levels add to the trees' margin. */
  readonly novelty?: NoveltyParts;
  readonly operatingPoints?: readonly OperatingPoint[];
}

const BLOCK_ROWS = 256;

/**
 * Boosted trees, calibrated: detector -> margin (and, in a hybrid, the levels of its novelty detectors on top) -> Platt
 * -> P(attack); rows at or above the threshold are then named by the kind stage. Not safe for concurrent use from several threads: scratch buffers are made once, here.
 */
export class BoostedModel implements DetectionModel {
  readonly parts: BoostedModelParts;
  readonly columnNames: readonly string[];
  readonly #margins = new Float64Array(BLOCK_ROWS);
  readonly #kindMargin = new Float64Array(1);
  readonly #novelty: NoveltyDetectors | undefined;
  #compiled: CompiledEnsemble | undefined;
  #means: Float64Array | undefined;
  #shap: TreeShap | undefined;

  constructor(parts: BoostedModelParts) {
    this.parts = parts;
    this.columnNames = parts.columns.map((column) => column.name);
    this.#novelty =
      parts.novelty &&
      new NoveltyDetectors(
        parts.novelty,
        parts.columns.map(({ categories }) => categories),
      );
  }

  get schemaId(): Digest {
    return this.parts.schemaId;
  }

  get kinds(): readonly string[] {
    return this.parts.kinds;
  }

  get sourceKinds(): readonly string[] {
    return this.parts.sourceKinds;
  }

  get threshold(): Probability {
    return this.parts.threshold;
  }

  get operatingPoints(): readonly OperatingPoint[] {
    return this.parts.operatingPoints ?? [];
  }

  at(name: OperatingPointName): BoostedModel {
    const point = this.operatingPoints.find((other) => other.name === name);
    if (point === undefined) {
      throw new ModelError('models.argument-invalid', `the model has no operating point ${name}`);
    }
    return new BoostedModel({ ...this.parts, threshold: point.threshold });
  }

  novelty(row: Float32Array): Novelty | undefined {
    this.#checkShape(row, 1, 1);
    return this.#novelty?.noveltyOf(row);
  }

  score(values: Float32Array, rows: number, out: ScoreBatchBuffers): void {
    this.#checkShape(values, rows, Math.min(out.probability.length, out.kind.length));
    const { bias, calibration, threshold } = this.parts;
    const detector = this.#detector();
    const margins = this.#margins;
    for (let from = 0; from < rows; from += BLOCK_ROWS) {
      const size = Math.min(BLOCK_ROWS, rows - from);
      margins.fill(bias, 0, size);
      detector.addMargins(values, from, size, margins);
      this.#novelty?.addLevels(values, from, size, margins);
      for (let r = 0; r < size; r++) {
        out.probability[from + r] = calibrate(calibration, margins[r] as number);
        // Read back: the float32 that the caller will compare decides.
        const p = out.probability[from + r] as number;
        out.kind[from + r] = p >= threshold ? this.bestKind(values, from + r) : -1;
      }
    }
  }

  /** Uncalibrated log-odds, the levels of novelty included. Out: Float64Array, at least `rows`. Throws models.shape-mismatch. */
  margins(values: Float32Array, rows: number, out: Float64Array): void {
    this.#checkShape(values, rows, out.length);
    out.fill(this.parts.bias, 0, rows);
    this.#detector().addMargins(values, 0, rows, out);
    this.#novelty?.addLevels(values, 0, rows, out);
  }

  /** P(kind | attack) of one row by softmax over the kinds' margins; empty without a kind stage. */
  kindProbabilities(row: Float32Array): Float64Array {
    this.#checkShape(row, 1, 1);
    const out = new Float64Array(this.parts.kindStage === undefined ? 0 : this.kinds.length);
    let first = 0;
    for (let k = 0; k < out.length; k++) first = this.#scoreKind(row, 0, k, first, out);
    const top = Math.max(...out);
    let sum = 0;
    for (let k = 0; k < out.length; k++) {
      out[k] = deterministicExp((out[k] as number) - top);
      sum += out[k] as number;
    }
    return out.map((e) => e / sum);
  }

  explain(row: Float32Array, limit = 5): readonly Contribution[] {
    this.#checkShape(row, 1, 1);
    this.#means ??= nodeMeans(this.parts.detector);
    const sums = new Float64Array(this.parts.columns.length);
    addPathContributions(this.parts.detector, this.#means, row, sums);
    return this.#strongest(row, sums, limit);
  }

  /** What novelty adds is shared out as in `explain`: only the trees have exact values. O(trees x leaves x depth^2). */
  explainExactly(row: Float32Array, limit = 5): readonly Contribution[] {
    this.#checkShape(row, 1, 1);
    this.#shap ??= new TreeShap(this.parts.detector);
    const sums = new Float64Array(this.parts.columns.length);
    this.#shap.add(row, sums);
    return this.#strongest(row, sums, limit);
  }

  /** Adds novelty's share to `sums` and gives the columns that moved the row most. */
  #strongest(row: Float32Array, sums: Float64Array, limit: number): readonly Contribution[] {
    this.#novelty?.addContributions(row, sums);
    return this.columnNames
      .map((column, c) => ({ column, value: row[c] as number, contribution: sums[c] as number }))
      .filter((entry) => entry.contribution !== 0)
      .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution))
      .slice(0, limit);
  }

  /** Made at the first score: a model that is only read or stored needs none. */
  #detector(): CompiledEnsemble {
    this.#compiled ??= new CompiledEnsemble(this.parts.detector, this.parts.columns.length);
    return this.#compiled;
  }

  /**
   * The kind with the largest margin of a row of checked values, -1 without a kind stage; the softmax would not change which.
   */
  bestKind(values: Float32Array, row: number): number {
    if (this.parts.kindStage === undefined) return -1;
    const margin = this.#kindMargin;
    let best = -1;
    let bestMargin = Number.NEGATIVE_INFINITY;
    let first = 0;
    for (let k = 0; k < this.kinds.length; k++) {
      first = this.#scoreKind(values, row, k, first, margin, 0);
      if ((margin[0] as number) > bestMargin) {
        bestMargin = margin[0] as number;
        best = k;
      }
    }
    return best;
  }

  /** Writes kind k's margin to out[at] and gives the first tree of the next kind. */
  #scoreKind(values: Float32Array, row: number, k: number, first: number, out: Float64Array, at = k): number {
    const stage = this.parts.kindStage as KindStage;
    const last = first + (stage.treeCounts[k] as number);
    const target = at === 0 ? out : out.subarray(at, at + 1);
    target[0] = stage.biases[k] as number;
    addMargins(stage.ensemble, first, last, values, this.parts.columns.length, row, 1, target);
    return last;
  }

  #checkShape(values: Float32Array, rows: number, room: number): void {
    const columns = this.parts.columns.length;
    if (!Number.isInteger(rows) || rows < 0 || values.length < rows * columns || room < rows) {
      throw new ModelError(
        'models.shape-mismatch',
        `expected ${rows} x ${columns} values and room for as many results, got ${values.length} and ${room}`,
      );
    }
  }
}
