/** Cells of a summary at most. */
export const SUMMARY_LIMIT = 32_768;

/**
 * What bin edges are made from: how often each value of a column occurs. Values are float32 in an order-preserving code
 * (`orderedKey`); beyond SUMMARY_LIMIT distinct ones, codes are cut by `shift` low bits.
 *
 * Any split of the rows gives the same summary once its parts are merged, in any order. The shift of a set of rows is the
 * lowest at which its distinct codes are SUMMARY_LIMIT at most. A part has no more distinct codes than the whole, so its
 * shift is no higher; merging cuts both sides to the higher shift, adds counts, and cuts on while there are too many: it
 * ends at the whole's shift with the whole's counts.
 */
export interface ColumnSummary {
  readonly shift: number;
  /** Uint32Array, ascending: codes >>> shift. */
  readonly keys: Uint32Array;
  /** Float64Array, one a key: rows. */
  readonly counts: Float64Array;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** A whole number that orders as the float32 does; -0 and 0 have the same one. */
export function orderedKey(x: number): number {
  float[0] = x + 0;
  const b = bits[0] as number;
  return (b >>> 31 === 1 ? ~b : b | 0x80000000) >>> 0;
}

/** The float32 of a key. */
export function keyValue(key: number): number {
  bits[0] = key >>> 31 === 1 ? key & 0x7fffffff : ~key;
  return float[0] as number;
}

/** Summary of the keys [0, count), which are sorted in place. O(count log count). */
export function summarize(keys: Uint32Array, count: number): ColumnSummary {
  const sorted = keys.subarray(0, count).sort();
  // changes[b]: neighbours whose highest differing bit is b; so distinct(shift) is known for each shift at once.
  const changes = new Uint32Array(33);
  for (let i = 1; i < count; i++) {
    const differs = (sorted[i] as number) ^ (sorted[i - 1] as number);
    changes[32 - Math.clz32(differs)]! += 1;
  }
  let distinct = count === 0 ? 0 : 1;
  for (let b = 1; b <= 32; b++) distinct += changes[b] as number;
  let shift = 0;
  while (distinct > SUMMARY_LIMIT) distinct -= changes[++shift] as number;
  const out = { shift, keys: new Uint32Array(distinct), counts: new Float64Array(distinct) };
  let at = -1;
  let last = -1;
  for (let i = 0; i < count; i++) {
    const key = (sorted[i] as number) >>> shift;
    if (key !== last) {
      out.keys[++at] = key;
      last = key;
    }
    out.counts[at]! += 1;
  }
  return out;
}

/** The summary of both sets of rows together. */
export function mergeSummaries(a: ColumnSummary, b: ColumnSummary): ColumnSummary {
  let merged = addCounts(a, b, Math.max(a.shift, b.shift));
  while (merged.keys.length > SUMMARY_LIMIT) merged = addCounts(merged, EMPTY, merged.shift + 1);
  return merged;
}

const EMPTY: ColumnSummary = { shift: 0, keys: new Uint32Array(0), counts: new Float64Array(0) };

function addCounts(a: ColumnSummary, b: ColumnSummary, shift: number): ColumnSummary {
  const keys = new Uint32Array(a.keys.length + b.keys.length);
  const counts = new Float64Array(keys.length);
  let [i, j, at] = [0, 0, -1];
  while (i < a.keys.length || j < b.keys.length) {
    const x = i < a.keys.length ? (a.keys[i] as number) >>> (shift - a.shift) : 2 ** 32;
    const y = j < b.keys.length ? (b.keys[j] as number) >>> (shift - b.shift) : 2 ** 32;
    const key = Math.min(x, y);
    if (at === -1 || keys[at] !== key) keys[++at] = key;
    counts[at]! += (x <= y ? a.counts[i++] : b.counts[j++]) as number;
  }
  return { shift, keys: keys.slice(0, at + 1), counts: counts.slice(0, at + 1) };
}

/**
 * Cuts between values, ascending: a value with few neighbours gets a bin for each; else bins of about equal weight, a
 * frequent value its own. At most `maxBins` bins; a bin holds (cuts[b-1], cuts[b]].
 */
export function cutsOf(summary: ColumnSummary, maxBins: number): Float32Array {
  const { shift, keys, counts } = summary;
  const cuts: number[] = [];
  let left = 0;
  for (const count of counts) left += count;
  let inBin = 0;
  for (let i = 0; i + 1 < keys.length; i++) {
    const target = left / (maxBins - cuts.length);
    inBin += counts[i] as number;
    // A frequent value does not share its bin with the rarer ones before it.
    const isFull = inBin >= target || (counts[i + 1] as number) >= target;
    if (keys.length > maxBins && (!isFull || cuts.length + 1 >= maxBins)) continue;
    // Between the last value that the one cell may hold and the first of the next.
    const below = keyValue((((keys[i] as number) + 1) * 2 ** shift - 1) >>> 0);
    cuts.push(cutBetween(below, keyValue(((keys[i + 1] as number) * 2 ** shift) >>> 0)));
    left -= inBin;
    inBin = 0;
  }
  return Float32Array.from(cuts);
}

/** A float32 c with a <= c < b, half way where float32 has room. */
function cutBetween(a: number, b: number): number {
  const c = Math.fround(a / 2 + b / 2);
  return c >= a && c < b ? c : a;
}
