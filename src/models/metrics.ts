import { auc } from './auc.ts';
import { ModelError } from './errors.ts';
import { type Interval, wilson } from './intervals.ts';

/** Counts at one threshold; positive means attack. */
export interface Confusion {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly trueNegatives: number;
  readonly falseNegatives: number;
}

/** What is reported of a binary detector, each with a 95 % interval. */
export interface BinaryMetrics {
  readonly accuracy: Interval;
  readonly precision: Interval;
  readonly recall: Interval;
  readonly f1: Interval;
  readonly fpr: Interval;
  readonly auc: Interval;
  readonly confusion: Confusion;
}

/** How one kind of attack fared. */
export interface KindMetrics {
  readonly kind: string;
  readonly rows: number;
  /** Share of its rows at or above the threshold, whatever they were called. */
  readonly detected: Interval;
  /** How the naming did: of rows called this kind, how many were; of its rows, how many were called so. */
  readonly precision?: Interval;
  readonly recall?: Interval;
}

/** Counts rows by label (1 attack) and by probability >= threshold. */
export function confusion(
  probability: ArrayLike<number>,
  labels: ArrayLike<number>,
  threshold: number,
): Confusion {
  if (probability.length !== labels.length) {
    throw new ModelError(
      'models.argument-invalid',
      `got ${probability.length} probabilities and ${labels.length} labels`,
    );
  }
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < labels.length; i++) {
    const at = (labels[i] === 1 ? 2 : 0) + ((probability[i] as number) >= threshold ? 1 : 0);
    counts[at] = (counts[at] as number) + 1;
  }
  const [trueNegatives = 0, falsePositives = 0, falseNegatives = 0, truePositives = 0] = counts;
  return { truePositives, falsePositives, trueNegatives, falseNegatives };
}

/**
 * Metrics at a threshold. Proportions: Wilson. F1: with J = TP / (TP + FP + FN), itself a proportion, F1 = 2J / (1 + J)
 * rises with J, so Wilson's ends for J are carried over. AUC: DeLong.
 */
export function binaryMetrics(
  probability: ArrayLike<number>,
  labels: ArrayLike<number>,
  threshold: number,
): BinaryMetrics {
  const counts = confusion(probability, labels, threshold);
  const { truePositives: tp, falsePositives: fp, trueNegatives: tn, falseNegatives: fn } = counts;
  const jaccard = wilson(tp, tp + fp + fn);
  const f1 = (j: number): number => (2 * j) / (1 + j);
  return {
    accuracy: wilson(tp + tn, tp + fp + tn + fn),
    precision: wilson(tp, tp + fp),
    recall: wilson(tp, tp + fn),
    f1: { value: f1(jaccard.value), low: f1(jaccard.low), high: f1(jaccard.high) },
    fpr: wilson(fp, fp + tn),
    auc: auc(probability, labels),
    confusion: counts,
  };
}

export interface KindMetricsInput {
  readonly probability: ArrayLike<number>;
  /** Index into `kinds`, -1 for none. */
  readonly kind: ArrayLike<number>;
  readonly kinds: readonly string[];
  readonly labels: ArrayLike<number>;
  readonly typeIndex: ArrayLike<number>;
  readonly typeNames: readonly string[];
  readonly threshold: number;
}

/** One entry for each attack type among the rows, in the order of `typeNames`. */
export function kindMetrics(input: KindMetricsInput): readonly KindMetrics[] {
  const { probability, kind, kinds, labels, typeIndex, typeNames, threshold } = input;
  return typeNames.flatMap((name, type) => {
    const named = kinds.indexOf(name);
    let [rows, detected, called, right] = [0, 0, 0, 0];
    for (let i = 0; i < labels.length; i++) {
      const isType = labels[i] === 1 && typeIndex[i] === type;
      const isCalled = named !== -1 && kind[i] === named;
      if (isType) rows++;
      if (isType && (probability[i] as number) >= threshold) detected++;
      if (isCalled) called++;
      if (isType && isCalled) right++;
    }
    if (rows === 0) return [];
    const naming = named === -1 ? {} : { precision: wilson(right, called), recall: wilson(right, rows) };
    return [{ kind: name, rows, detected: wilson(detected, rows), ...naming }];
  });
}
