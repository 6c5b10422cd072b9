import { ModelError } from '../errors.ts';

/**
 * How unusual a detector's score is among normal traffic held out of training: pieces of a rising line through
 * (scores, levels), level = -ln of the share of normal rows that score as high, and a straight tail beyond the last
 * piece, as if excesses were exponential.
 */
export interface ScoreTail {
  /** Float32Array, strictly ascending. */
  readonly scores: Float32Array;
  /** Float32Array, ascending, as long as `scores`. */
  readonly levels: Float32Array;
  /** How fast the level rises beyond the last score. */
  readonly slope: number;
}

/** The level of one score, 0 below the first and at most `cap`. O(log pieces). Hot. */
export function tailLevel(tail: ScoreTail, score: number, cap: number): number {
  const { scores, levels, slope } = tail;
  const last = scores.length - 1;
  const end = scores[last] as number;
  if (score >= end) return Math.min(cap, (levels[last] as number) + (score - end) * slope);
  let low = 0;
  let high = last;
  // Last piece that begins at or below the score.
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((scores[middle] as number) <= score) low = middle;
    else high = middle - 1;
  }
  const s = scores[low] as number;
  if (!(score > s)) return Math.min(cap, low === 0 && score < s ? 0 : (levels[low] as number));
  const share = (score - s) / ((scores[low + 1] as number) - s);
  const level = levels[low] as number;
  return Math.min(cap, level + share * ((levels[low + 1] as number) - level));
}

/** The lowest score whose level is `cap`; Infinity where none is. */
export function scoreAtLevel(tail: ScoreTail, cap: number): number {
  const { scores, levels, slope } = tail;
  const last = scores.length - 1;
  const above = levels.findIndex((level) => level >= cap);
  if (above !== -1) return scores[above] as number;
  return (scores[last] as number) + (cap - (levels[last] as number)) / slope;
}

/** Refuses a tail that is empty, falls or is not finite. Throws models.malformed. */
export function checkTail({ scores, levels, slope }: ScoreTail): void {
  const rises = scores.every((s, i) => Number.isFinite(s) && (i === 0 || s > (scores[i - 1] as number)));
  const climbs = levels.every(
    (u, i) => Number.isFinite(u) && u >= 0 && (i === 0 || u >= (levels[i - 1] as number)),
  );
  if (scores.length === 0 || levels.length !== scores.length || !rises || !climbs) {
    throw new ModelError('models.malformed', 'the levels of a detector do not rise with its scores');
  }
  if (!(Number.isFinite(slope) && slope >= 0)) {
    throw new ModelError('models.malformed', `the tail of a detector rises by ${slope}`);
  }
}
