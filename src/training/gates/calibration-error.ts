/** One bin of a reliability table: rows whose probability lies in [from, to), the last one's end included. */
export interface CalibrationBin {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
  readonly meanProbability: number;
  readonly attackShare: number;
}

export interface CalibrationError {
  /** Expected calibration error: mean distance of probability and share of attacks, weighed by the bins' rows. */
  readonly expected: number;
  /** Mean squared difference of probability and label (Brier, 1950). */
  readonly brier: number;
  /** The bins with rows, ascending; all are equally wide. */
  readonly bins: readonly CalibrationBin[];
}

/** How far probabilities are from what they say (Naeini, Cooper and Hauskrecht, 2015). Labels: 1 attack. 0 without rows. */
export function calibrationError(
  probability: ArrayLike<number>,
  labels: ArrayLike<number>,
  bins: number,
): CalibrationError {
  const rows = new Float64Array(bins);
  const sums = new Float64Array(bins);
  const attacks = new Float64Array(bins);
  let brier = 0;
  for (let r = 0; r < labels.length; r++) {
    const p = probability[r] as number;
    const label = labels[r] as number;
    const bin = Math.min(bins - 1, Math.floor(p * bins));
    rows[bin]!++;
    sums[bin]! += p;
    attacks[bin]! += label;
    brier += (p - label) ** 2;
  }
  const n = Math.max(1, labels.length);
  const table: CalibrationBin[] = [];
  let expected = 0;
  for (let b = 0; b < bins; b++) {
    const size = rows[b] as number;
    if (size === 0) continue;
    const meanProbability = (sums[b] as number) / size;
    const attackShare = (attacks[b] as number) / size;
    expected += (size / n) * Math.abs(meanProbability - attackShare);
    table.push({ from: b / bins, to: (b + 1) / bins, rows: size, meanProbability, attackShare });
  }
  return { expected, brier: brier / n, bins: table };
}
