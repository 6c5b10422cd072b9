import { randomBytes } from 'node:crypto';
import type { Detection } from './detection.ts';

/** States told last that can be told again. */
const CAPACITY = 1_024;
const FORM = /^([0-9a-f]{16})-(\d{1,15})$/;

/**
 * The states of findings that were told last, each under a number: who lost a stream says the last one it has, and is told
 * what came since. Bounded, and of this process alone: its name stands in each number, so that one of another process, or
 * one too old, is known for what it is.
 */
export class StateHistory {
  readonly #process = randomBytes(8).toString('hex');
  readonly #capacity: number;
  /** Ring: the state of number n is at n modulo capacity. */
  readonly #states: Detection[] = [];
  readonly #numbers = new WeakMap<Detection, number>();
  #next = 0;

  constructor(capacity: number = CAPACITY) {
    this.#capacity = capacity;
  }

  add(state: Detection): void {
    this.#states[this.#next % this.#capacity] = state;
    this.#numbers.set(state, this.#next++);
  }

  /** The name of a state that was told, without spaces or line ends. */
  idOf(state: Detection): string {
    return `${this.#process}-${this.#numbers.get(state) ?? this.#next}`;
  }

  /** What was told after the state of this name, in order; undefined where that can not be said any more. */
  since(id: string): readonly Detection[] | undefined {
    const [, process, digits] = FORM.exec(id) ?? [];
    const from = Number(digits) + 1;
    if (process !== this.#process || from > this.#next || from < this.#next - this.#capacity)
      return undefined;
    return Array.from(
      { length: this.#next - from },
      (_, i) => this.#states[(from + i) % this.#capacity] as Detection,
    );
  }
}
