import { setImmediate } from 'node:timers/promises';
import type { BatchSize, Clock } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { Score } from '../models/index.ts';

export interface PartScoring {
  /** Learns from each part what scoring costs. */
  readonly sizes: BatchSize;
  readonly clock: Clock;
  readonly score: (part: FeatureBatch) => Promise<readonly Score[]>;
}

/**
 * Scores a batch in parts that each take no longer than the latency target allows, and lets others have their turn between
 * two parts: a file of a million flows does not keep a request waiting. A row's score does not depend on its
 * neighbours, so the scores are those of the whole batch.
 */
export async function scoreInParts(
  batch: FeatureBatch,
  { sizes, clock, score }: PartScoring,
): Promise<readonly Score[]> {
  const scores: Score[] = [];
  let rejected = 0;
  for (let from = 0; from < batch.rows; ) {
    const to = Math.min(batch.rows, from + sizes.next());
    const first = rejected;
    while (rejected < batch.rejected.length && (batch.rejected[rejected]?.row as number) < to) rejected++;
    const part: FeatureBatch = {
      ...batch,
      rows: to - from,
      values: batch.values.subarray(from * batch.columns, to * batch.columns),
      rejected: batch.rejected
        .slice(first, rejected)
        .map((reject) => ({ ...reject, row: reject.row - from })),
    };
    const started = clock.monotonic();
    for (const each of await score(part)) scores.push(each);
    sizes.observe(to - from, clock.monotonic() - started);
    from = to;
    if (from < batch.rows) await setImmediate();
  }
  return scores;
}
