import type { FeatureErrorCode } from './errors.ts';

/** Where and why a row was refused. */
export interface RejectExample {
  /** Line of the file, or row of the stream, from 1. */
  readonly row: number;
  readonly code: FeatureErrorCode;
  readonly column: string;
}

const MAX_EXAMPLES = 5;
const MAX_KEYS = 4096;

/** Counts refused rows by reason and column and keeps the first few. Bounded: keys come from the schema. */
export class RejectCounts {
  total = 0;
  readonly #counts = new Map<string, number>();
  readonly #examples: RejectExample[] = [];

  add(row: number, code: FeatureErrorCode, column: string): void {
    this.total++;
    const key = `${code} ${column}`;
    const known = this.#counts.get(key);
    if (known !== undefined || this.#counts.size < MAX_KEYS) this.#counts.set(key, (known ?? 0) + 1);
    if (this.#examples.length < MAX_EXAMPLES) this.#examples.push({ row, code, column });
  }

  /** Counts by `code column`. */
  get byReason(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  get examples(): readonly RejectExample[] {
    return [...this.#examples];
  }
}
