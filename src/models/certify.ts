import { type Probability, SeededRandom } from '../base/index.ts';
import { ModelError } from './errors.ts';
import { clopperPearsonUpper, decisionsNeeded } from './intervals.ts';
import { logGamma } from './special-functions.ts';

/** Where the calibration data came from; only `site` may permit an action. */
export const CERTIFICATE_ORIGINS = ['lab', 'public', 'site'] as const;
export type CertificateOrigin = (typeof CERTIFICATE_ORIGINS)[number];

/** Which decisions it speaks of: attack verdicts that would be acted on, or benign verdicts let pass unseen. */
export const CERTIFIED_SIDES = ['block', 'allow'] as const;
export type CertifiedSide = (typeof CERTIFIED_SIDES)[number];

/** Decisions with all rows of one source and label counted as one: flows of one attack are not independent. */
export interface EpisodeBound {
  readonly count: number;
  /** Episodes with at least one wrong decision. */
  readonly errors: number;
  /** Clopper-Pearson, one-sided; reported, and no claim rests on it. */
  readonly bound: Probability;
}

/** What has been shown of decisions of one side taken without a human. Holds only for data like the calibration data. */
export interface Claim {
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
  /** Share of all rows that are decided rightly where nothing abstains. */
  readonly accuracy: Probability;
  /** Null where the data name no sources. */
  readonly episodes: EpisodeBound | null;
  /** Refused: further decisions without an error that the bound would need. */
  readonly wanting?: number;
}

export interface ScoredLabels {
  /** Calibrated P(attack) of rows that training has not seen. */
  readonly probability: ArrayLike<number>;
  /** 1 attack. */
  readonly labels: ArrayLike<number>;
}

export interface CertifyInput extends ScoredLabels {
  readonly origin: CertificateOrigin;
  /** At or above it a row is called an attack; 0.5 by default. */
  readonly decisionThreshold?: Probability;
  /** Number of the episode of each row. */
  readonly episodes?: ArrayLike<number>;
  /** Like rows that are not among these, to plan the sequence on. */
  readonly planning?: ScoredLabels;
}

export interface CertifyOptions {
  readonly side: CertifiedSide;
  readonly target: Probability;
  readonly confidence: Probability;
  /** A sequence fixed before the data are seen, strictest first; left out, it is planned on a part of the rows. */
  readonly thresholds?: readonly Probability[] | undefined;
  /** Without rows to plan on: share of the rows on which it is done instead; nothing is tested on them. */
  readonly planningShare: Probability;
  /** Draws that part. */
  readonly seed: number;
}

export const CERTIFY_DEFAULTS: CertifyOptions = {
  side: 'block',
  target: 1e-5,
  confidence: 0.95,
  planningShare: 0.05,
  seed: 1,
};

/** Share of the best chance with which a stricter threshold is taken for as good. */
const AS_GOOD = 0.95;
const PLANNING_STREAM = 0x63657274;
/** How much longer each step of a planned sequence is, in decisions. */
const STEP = 1.1;
/** Standard deviations by which the first planned threshold is expected to have more decisions than the least. */
const MARGIN = 2.5;

/**
 * Certifies decisions by fixed-sequence testing: thresholds are tested in an order fixed beforehand, strictest first,
 * each at the full confidence, until the first one fails; the last that passed is certified. No correction is needed,
 * because nothing is tested after a failure.
 *
 * A threshold with so few decisions that even none wrong would prove nothing must not stand first, or it would end the
 * sequence. Leaving it out after counting would not do: the counts belong to the rows that are tested, and where strict
 * decisions are worse than lax ones, skipping when there are few of them picks the lucky cases. So the sequence is
 * planned on other rows: given ones, or some drawn by seed and then set aside. They are independent of those tested, so
 * to the test the sequence is as if fixed before. It begins where the planning rows make a pass likeliest, and depends on
 * the order of the scores alone: a calibration curve that was fitted on these very rows changes nothing of it.
 *
 * Throws models.argument-invalid.
 */
export function certify(input: CertifyInput, options: Partial<CertifyOptions> = {}): Claim {
  const plan = { ...CERTIFY_DEFAULTS, ...options };
  const { side, target, confidence, thresholds: fixed } = plan;
  checkArguments(input, plan);
  const { tested, planning } = drawRows(input, plan);
  const thresholds = fixed ?? planThresholds(input, planning, tested.length, plan);
  const accuracy = accuracyOf(input, tested);
  const decided = rankDecisions(input, tested, side);
  let passed: Claim | undefined;
  for (const threshold of thresholds) {
    const accepted = countFrom(decided.all, threshold);
    const errors = countFrom(decided.wrong, threshold);
    const bound = clopperPearsonUpper(errors, accepted, confidence);
    const coverage = accepted / Math.max(1, tested.length);
    const found = { side, target, confidence, threshold, accepted, errors, coverage, bound, accuracy };
    if (bound <= target) {
      passed = { ...found, episodes: null, status: input.origin, reason: reasonOf(found) };
      continue;
    }
    if (passed !== undefined) break;
    // One threshold alone was planned where no other can have enough decisions: then it is told what comes nearest.
    const nearest = fixed === undefined && thresholds.length === 1 ? findNearest(decided, plan) : undefined;
    return refuse(input, tested, plan, { ...found, ...nearest });
  }
  const certified = passed as Claim;
  return { ...certified, episodes: countEpisodes(input, tested, side, certified.threshold, confidence) };
}

/** How sure a probability is of one side: what a claim's threshold is compared with, here and when it serves. */
export function sideConfidence(side: CertifiedSide, probability: number): number {
  return side === 'block' ? probability : 1 - probability;
}

/** The numbers of a claim, never one without the others. */
export function describeClaim(claim: Claim): string {
  const { side, status, target, threshold, accepted, errors, coverage, bound, accuracy, episodes } = claim;
  const aim = `${side} ${Number((100 * (1 - target)).toPrecision(8))} %`;
  const numbers =
    `${errors.toLocaleString('en')} errors in ${accepted.toLocaleString('en')} decisions, coverage ${(100 * coverage).toFixed(1)} %, ` +
    `error at most ${bound.toExponential(2)}, accuracy without abstaining ${(100 * accuracy).toFixed(2)} %`;
  const perEpisode =
    episodes === null
      ? ''
      : `; by episode ${episodes.errors} of ${episodes.count.toLocaleString('en')} wrong, at most ${episodes.bound.toExponential(2)} (not certified)`;
  const verdict =
    status === 'refused'
      ? `refused for want of ${(claim.wanting ?? 0).toLocaleString('en')} decisions without an error`
      : `certified (${status})`;
  return `${aim} ${verdict} at confidence ${Number(threshold.toPrecision(9))}: ${numbers}${perEpisode}`;
}

function checkArguments(input: CertifyInput, plan: CertifyOptions): void {
  const { probability, labels, episodes } = input;
  const { thresholds, planningShare } = plan;
  if (probability.length !== labels.length || (episodes?.length ?? labels.length) !== labels.length) {
    throw new ModelError('models.argument-invalid', 'expected a probability, label and episode for each row');
  }
  if (thresholds?.length === 0) throw new ModelError('models.argument-invalid', 'expected thresholds');
  if (thresholds?.some((t, i) => i > 0 && t >= (thresholds[i - 1] as number))) {
    throw new ModelError('models.argument-invalid', 'expected falling thresholds');
  }
  if (!(planningShare > 0 && planningShare < 1)) {
    throw new ModelError(
      'models.argument-invalid',
      `expected a planning share in (0, 1), got ${planningShare}`,
    );
  }
}

/** The rows to test, and those to plan on. Each row falls to one part by a draw of its own, whatever it holds. */
function drawRows(
  { probability, labels, planning }: CertifyInput,
  { thresholds, planningShare, seed }: CertifyOptions,
): { readonly tested: Uint32Array; readonly planning: ScoredLabels } {
  if (planning !== undefined || thresholds !== undefined) {
    const tested = Uint32Array.from({ length: labels.length }, (_, i) => i);
    return { tested, planning: planning ?? { probability: [], labels: [] } };
  }
  // Data that were themselves drawn by a seed must not meet the same numbers again.
  const random = new SeededRandom((seed ^ PLANNING_STREAM) >>> 0);
  const drawn: { probability: number[]; labels: number[] } = { probability: [], labels: [] };
  const tested: number[] = [];
  for (let i = 0; i < labels.length; i++) {
    if (!random.chance(planningShare)) {
      tested.push(i);
      continue;
    }
    drawn.probability.push(probability[i] as number);
    drawn.labels.push(labels[i] as number);
  }
  return { tested: Uint32Array.from(tested), planning: drawn };
}

/**
 * Falling thresholds at which `testedRows` rows like these are expected to give enough decisions, from the first that is
 * about as likely to pass as any, then a tenth more decisions at each step, to every decision of the side. Only the last
 * where all of them are too few.
 */
function planThresholds(
  { decisionThreshold = 0.5 }: CertifyInput,
  planning: ScoredLabels,
  testedRows: number,
  { side, target, confidence }: CertifyOptions,
): readonly number[] {
  const last = sideConfidence(side, decisionThreshold);
  const every = Uint32Array.from({ length: planning.labels.length }, (_, i) => i);
  const { all, wrong } = rankDecisions({ ...planning, decisionThreshold }, every, side);
  const scale = testedRows / Math.max(1, every.length);
  const least = decisionsNeeded(0, target, confidence);
  const steps: { readonly threshold: number; readonly chance: number }[] = [];
  let rank = 1;
  while (rank <= all.length && scale * (rank - MARGIN * Math.sqrt(rank)) < least) rank++;
  for (; rank <= all.length; rank = Math.max(rank + 1, Math.round(rank * STEP))) {
    const threshold = all[all.length - rank] as number;
    if (threshold <= last || threshold >= (steps.at(-1)?.threshold ?? Number.POSITIVE_INFINITY)) continue;
    const accepted = countFrom(all, threshold);
    const n = Math.floor(scale * (accepted - MARGIN * Math.sqrt(accepted)));
    const chance = passChance(countFrom(wrong, threshold), accepted, n, errorsAllowed(n, target, confidence));
    steps.push({ threshold, chance });
  }
  const best = steps.reduce((most, { chance }) => Math.max(most, chance), 0);
  const first = steps.findIndex(({ chance }) => chance >= AS_GOOD * best);
  return [...steps.slice(Math.max(0, first)).map(({ threshold }) => threshold), last];
}

/** The most errors in n decisions of which the upper bound still meets the target; -1 where there is none. */
function errorsAllowed(n: number, target: number, confidence: number): number {
  let low = -1;
  let high = Math.ceil(n * target) + 1;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (clopperPearsonUpper(Math.min(middle, n), n, confidence) <= target) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Chance of at most `allowed` errors in n decisions after `errors` in `seen` like ones: beta-binomial, from the prior
 * Beta(1/2, 1/2) (Jeffreys 1946). Decides where the sequence begins, never what it shows.
 */
function passChance(errors: number, seen: number, n: number, allowed: number): number {
  const a = errors + 0.5;
  const b = seen - errors + 0.5;
  const logBeta = (x: number, y: number) => logGamma(x) + logGamma(y) - logGamma(x + y);
  let sum = 0;
  for (let k = 0; k <= allowed; k++) {
    const ways = logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);
    sum += Math.exp(ways + logBeta(k + a, n - k + b) - logBeta(a, b));
  }
  return sum;
}

type Counted = Omit<Claim, 'status' | 'reason' | 'episodes' | 'wanting'>;

function reasonOf({ errors, accepted, threshold }: Counted): string {
  return `${errors} errors in ${accepted} decisions at confidence ${threshold} or above`;
}

function refuse(input: CertifyInput, rows: Uint32Array, plan: CertifyOptions, nearest: Counted): Claim {
  const { side, threshold, accepted, errors, target, confidence } = nearest;
  const found = {
    ...nearest,
    bound: clopperPearsonUpper(errors, accepted, confidence),
    coverage: accepted / Math.max(1, rows.length),
  };
  const wanting = decisionsNeeded(errors, target, confidence) - accepted;
  const shown = `show at most ${found.bound.toExponential(2)}; ${wanting} more without an error are wanting`;
  return {
    ...found,
    episodes: countEpisodes(input, rows, side, threshold, plan.confidence),
    status: 'refused',
    reason: `${reasonOf(found)} ${shown}`,
    wanting,
  };
}

/** Errors that a refusal looks past for the threshold that lacks least. */
const ERRORS_LOOKED_PAST = 20;

/** The threshold that lacks the fewest further decisions. It was chosen by its errors: nothing may be claimed of it. */
function findNearest({ all, wrong }: Decided, { target, confidence }: CertifyOptions) {
  let nearest: Pick<Claim, 'threshold' | 'accepted' | 'errors'> | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let errors = 0; errors <= Math.min(ERRORS_LOOKED_PAST, wrong.length); errors++) {
    // Down to the next wrong one; values that are equal stand or fall together.
    const next = wrong[wrong.length - 1 - errors] ?? Number.NEGATIVE_INFINITY;
    const first = all.length - countFrom(all, next, false);
    const threshold = all[first];
    if (threshold === undefined || countFrom(wrong, threshold) !== errors) continue;
    const accepted = all.length - first;
    const wanting = decisionsNeeded(errors, target, confidence) - accepted;
    if (wanting < least) {
      least = wanting;
      nearest = { threshold, accepted, errors };
    }
  }
  return nearest;
}

interface Decided {
  /** Ascending. */
  readonly all: Float64Array;
  readonly wrong: Float64Array;
}

/** Confidences of every decision of a side, and of the wrong ones, ascending. */
function rankDecisions(input: Omit<CertifyInput, 'origin'>, rows: Uint32Array, side: CertifiedSide): Decided {
  const { probability, decisionThreshold = 0.5 } = input;
  const all: number[] = [];
  const wrong: number[] = [];
  for (const i of rows) {
    const p = probability[i] as number;
    if (p >= decisionThreshold !== (side === 'block')) continue;
    const sure = sideConfidence(side, p);
    all.push(sure);
    if (isWrong(input, i, side)) wrong.push(sure);
  }
  return { all: Float64Array.from(all).sort(), wrong: Float64Array.from(wrong).sort() };
}

/** How many of the ascending values are at or above the least; or above it alone. */
function countFrom(ascending: Float64Array, least: number, orEqual = true): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const value = ascending[middle] as number;
    if (orEqual ? value < least : value <= least) low = middle + 1;
    else high = middle;
  }
  return ascending.length - low;
}

function countEpisodes(
  input: CertifyInput,
  rows: Uint32Array,
  side: CertifiedSide,
  threshold: number,
  confidence: number,
): EpisodeBound | null {
  const { episodes } = input;
  if (episodes === undefined) return null;
  const all = new Set<number>();
  const wrong = new Set<number>();
  for (const i of rows) {
    if (!isAccepted(input, i, side, threshold)) continue;
    all.add(episodes[i] as number);
    if (isWrong(input, i, side)) wrong.add(episodes[i] as number);
  }
  const bound = clopperPearsonUpper(wrong.size, all.size, confidence);
  return { count: all.size, errors: wrong.size, bound };
}

function isAccepted(input: CertifyInput, row: number, side: CertifiedSide, threshold: number): boolean {
  const p = input.probability[row] as number;
  const isAttack = p >= (input.decisionThreshold ?? 0.5);
  return isAttack === (side === 'block') && sideConfidence(side, p) >= threshold;
}

function isWrong({ labels }: ScoredLabels, row: number, side: CertifiedSide): boolean {
  return (labels[row] === 1) !== (side === 'block');
}

function accuracyOf({ probability, labels, decisionThreshold = 0.5 }: CertifyInput, rows: Uint32Array) {
  let right = 0;
  for (const i of rows) if ((probability[i] as number) >= decisionThreshold === (labels[i] === 1)) right++;
  return rows.length === 0 ? 0 : right / rows.length;
}
