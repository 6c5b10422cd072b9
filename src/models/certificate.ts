import type { Probability } from '../base/index.ts';
import { ModelError } from './errors.ts';
import { clopperPearsonUpper, decisionsNeeded } from './intervals.ts';

/** Where the calibration data came from; only `site` may permit an action. */
export type CertificateOrigin = 'lab' | 'public' | 'site';

/** Which decisions it speaks of: attack verdicts that would be acted on, or benign verdicts let pass unseen. */
export type CertifiedSide = 'block' | 'allow';

/** What has been shown of decisions taken without a human. Holds only for data like the calibration data. */
export interface Certificate {
  readonly status: 'refused' | CertificateOrigin;
  readonly side: CertifiedSide;
  /** Highest error rate allowed. */
  readonly target: Probability;
  readonly confidence: Probability;
  readonly reason: string;
  /** Decisions are taken at or above this confidence: the lowest that was shown, or the first that failed. */
  readonly threshold: Probability;
  /** Decisions at that threshold, and how many of them were wrong. */
  readonly accepted: number;
  readonly errors: number;
  /** Accepted share of all rows. */
  readonly coverage: Probability;
  /** Upper bound of the error rate, Clopper-Pearson, one-sided. */
  readonly bound: Probability;
  /** Refused: further decisions without an error that the bound would need. */
  readonly wanting?: number;
}

export interface CertifyInput {
  /** Calibrated P(attack) of rows that neither training nor the choice of the sequence has seen. */
  readonly probability: ArrayLike<number>;
  /** 1 attack. */
  readonly labels: ArrayLike<number>;
  readonly origin: CertificateOrigin;
}

export interface CertifyOptions {
  readonly side: CertifiedSide;
  readonly target: Probability;
  readonly confidence: Probability;
  /** Fixed before the data are seen; strictest first. */
  readonly thresholds: readonly Probability[];
}

export const CERTIFY_DEFAULTS: CertifyOptions = {
  side: 'block',
  target: 1e-5,
  confidence: 0.95,
  thresholds: [0.9999, 0.999, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5],
};

/**
 * Certifies decisions by fixed-sequence testing: thresholds are tested in an order fixed beforehand, strictest first,
 * each at the full confidence, until the first one fails; the last that passed is certified. No correction is needed,
 * because nothing is tested after a failure. Flows of one attack are not independent: hand in one row an episode where
 * that matters. Throws models.argument-invalid.
 */
export function certify(input: CertifyInput, options: Partial<CertifyOptions> = {}): Certificate {
  const { side, target, confidence, thresholds } = { ...CERTIFY_DEFAULTS, ...options };
  if (input.probability.length !== input.labels.length || thresholds.length === 0) {
    throw new ModelError('models.argument-invalid', 'expected a label for each probability, and thresholds');
  }
  if (thresholds.some((t, i) => i > 0 && t >= (thresholds[i - 1] as number))) {
    throw new ModelError('models.argument-invalid', 'expected falling thresholds');
  }
  let certificate: Certificate | undefined;
  for (const threshold of thresholds) {
    const { accepted, errors } = countDecisions(input, side, threshold);
    const bound = clopperPearsonUpper(errors, accepted, confidence);
    const coverage = input.labels.length === 0 ? 0 : accepted / input.labels.length;
    const found = { side, target, confidence, threshold, accepted, errors, coverage, bound };
    if (bound <= target) {
      certificate = {
        ...found,
        status: input.origin,
        reason: `${errors} errors in ${accepted} decisions at confidence ${threshold} or above`,
      };
      continue;
    }
    if (certificate !== undefined) break;
    const wanting = decisionsNeeded(errors, target, confidence) - accepted;
    return {
      ...found,
      status: 'refused',
      reason:
        `${errors} errors in ${accepted} decisions at confidence ${threshold} or above show at most ${bound.toExponential(2)}; ` +
        `${wanting} more without an error are wanting`,
      wanting,
    };
  }
  return certificate as Certificate;
}

function countDecisions({ probability, labels }: CertifyInput, side: CertifiedSide, threshold: number) {
  let accepted = 0;
  let errors = 0;
  for (let i = 0; i < labels.length; i++) {
    const p = probability[i] as number;
    if ((side === 'block' ? p : 1 - p) < threshold) continue;
    accepted++;
    if ((labels[i] === 1) !== (side === 'block')) errors++;
  }
  return { accepted, errors };
}
