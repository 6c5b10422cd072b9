import type { FeatureErrorCode } from './errors.ts';

/** Where and why a row was refused. */
export interface RejectExample {
  /** Line of the file, or row of the stream, from 1. */
  readonly row: number;
  readonly code: FeatureErrorCode;
  readonly column: string;
}

const MAX_EXAMPLES = 5;

/**
 * Counts refused rows by reason and column and keeps the first few. Bounded: reasons and columns come from catalogue and
 * schema. A row whose reason was met before allocates nothing.
 */
export class RejectCounts {
  total = 0;
  readonly #counts = new Map<string, Map<FeatureErrorCode, number>>();
  readonly #examples: RejectExample[] = [];

  add(row: number, code: FeatureErrorCode, column: string): void {
    this.total++;
    let counts = this.#counts.get(column);
    if (counts === undefined) {
      counts = new Map();
      this.#counts.set(column, counts);
    }
    counts.set(code, (counts.get(code) ?? 0) + 1);
    if (this.#examples.length < MAX_EXAMPLES) this.#examples.push({ row, code, column });
  }

  /** Counts by `code column`. */
  get byReason(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const [column, codes] of this.#counts) {
      for (const [code, count] of codes) counts[`${code} ${column}`] = count;
    }
    return counts;
  }

  get examples(): readonly RejectExample[] {
    return [...this.#examples];
  }
}
