import type { Milliseconds } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { Score } from '../models/index.ts';
import {
  ABSTAIN,
  CERTIFICATE_STATES,
  type ColumnArrays,
  type ScoreColumns,
  VERDICTS,
} from './score-columns.ts';
import { confidenceOf, EXPLAINED_ROWS, type ServedModel } from './served-model.ts';

/** An answer in the making. */
export interface Answer {
  served: ServedModel;
  readonly rows: number;
  readonly arrays: ColumnArrays;
  /** Why no model decided a row, by row. */
  reasons?: Map<number, string>;
  /** Why another model than the one asked scored the whole batch. */
  standIn?: string;
  /** From the call to the scoring of its first row, where a model scored it. */
  waitedMs?: Milliseconds;
  /** Why rows at the end were answered without a model. */
  fallback?: string;
}

export function columnsOf({
  served,
  rows,
  arrays,
  reasons,
  standIn,
  fallback,
  waitedMs = 0,
}: Answer): ScoreColumns {
  const degraded = standIn ?? fallback;
  const { probability, verdict, kind, certificate } = arrays;
  return {
    model: served.info,
    rows,
    probability,
    verdict,
    kind,
    kinds: served.kinds,
    certificate,
    waitedMs,
    ...(reasons !== undefined && { reasons }),
    ...(degraded !== undefined && { degraded }),
  };
}

/** Appends one score for each of the rows [from, to); of the attacks among them, the first so many are explained. */
export function describeRows(
  batch: FeatureBatch,
  answer: Answer,
  part: { readonly from: number; readonly to: number; readonly confidenceThreshold: number },
  out: Score[],
): void {
  const { served, arrays, reasons, standIn } = answer;
  const { columns } = batch;
  const refused = standIn === undefined ? undefined : new Set(batch.rejected.map(({ row }) => row));
  let explained = 0;
  for (let row = part.from; row < part.to; row++) {
    const probability = arrays.probability[row] as number;
    const verdict = arrays.verdict[row] as number;
    const undecided = reasons?.get(row);
    const confidence = undecided === undefined ? confidenceOf(probability, served.threshold) : 0.5;
    const isUnsure = undecided === undefined && verdict === ABSTAIN;
    const own = isUnsure
      ? `confidence ${confidence.toFixed(3)} is below ${part.confidenceThreshold}`
      : undecided;
    const reason =
      standIn === undefined || refused?.has(row) ? own : own === undefined ? standIn : `${standIn}; ${own}`;
    const isAttack = undecided === undefined && probability >= served.threshold;
    const kind = isAttack ? served.kinds[arrays.kind[row] as number] : undefined;
    out.push({
      probability,
      verdict: VERDICTS[verdict] ?? 'abstain',
      ...(kind !== undefined && { kind }),
      confidence,
      ...(reason !== undefined && { reason }),
      model: served.info,
      certificate: CERTIFICATE_STATES[arrays.certificate[row] as number] ?? 'absent',
      ...(isAttack &&
        explained++ < EXPLAINED_ROWS &&
        served.explain(batch.values.subarray(row * columns, (row + 1) * columns))),
    });
  }
}
