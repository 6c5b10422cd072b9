import type { FeatureBatch } from '../features/index.ts';

/** Flows the schema refused, by code and column. */
export function rejectsOf({ rejected }: FeatureBatch): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { code, column } of rejected) {
    const reason = `${code} ${column}`;
    counts[reason] = (counts[reason] ?? 0) + 1;
  }
  return counts;
}
