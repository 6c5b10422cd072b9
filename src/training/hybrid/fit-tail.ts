import { deterministicLog, type ScoreTail } from '../../models/index.ts';

/** Share of the held-out rows beyond which the tail is exponential. */
const TAIL_SHARE = 0.02;
/** Pieces of the line at most. */
const PIECES = 256;

/**
 * Levels u(s) = -ln((#held-out normal scores >= s + 1) / (n + 1)) at some of the scores; beyond the top 2 % a tail whose
 * slope is one over the mean excess, the maximum likelihood of an exponential.
 */
export function fitTail(normalScores: ArrayLike<number>): ScoreTail {
  const sorted = Float32Array.from(normalScores).sort();
  const n = sorted.length;
  if (n === 0) return { scores: Float32Array.of(0), levels: Float32Array.of(0), slope: 0 };
  const above = Math.max(1, Math.floor(TAIL_SHARE * n));
  const start = n - 1 - above < 0 ? 0 : n - 1 - above;
  const scores: number[] = [];
  const levels: number[] = [];
  const last = sorted[start] as number;
  for (let piece = 0; piece <= PIECES; piece++) {
    // Evenly in level, so that the rare end is drawn as finely as the frequent one.
    const share = ((above + 1) / (n + 1)) ** (piece / PIECES);
    const s = sorted[Math.min(start, Math.max(0, Math.round(n - share * (n + 1))))] as number;
    if (scores.length > 0 && s <= (scores.at(-1) as number)) continue;
    scores.push(s);
    levels.push(levelAt(sorted, s));
  }
  if ((scores.at(-1) as number) < last) {
    scores.push(last);
    levels.push(levelAt(sorted, last));
  }
  let excess = 0;
  for (let i = start + 1; i < n; i++) excess += (sorted[i] as number) - last;
  const mean = excess / Math.max(1, n - 1 - start);
  // Without an excess (all highest scores equal) whatever lies higher is beyond compare.
  const spread = (sorted[n - 1] as number) - (sorted[0] as number);
  const slope = 1 / Math.max(mean, spread * 1e-3, 1e-6);
  return { scores: Float32Array.from(scores), levels: Float32Array.from(levels), slope };
}

function levelAt(sorted: Float32Array, score: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < score) low = middle + 1;
    else high = middle;
  }
  return -deterministicLog((sorted.length - low + 1) / (sorted.length + 1));
}
