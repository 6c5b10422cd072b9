import { createHmac } from 'node:crypto';

/**
 * A share of the sources, by HMAC-SHA-256 of the name under a key of this rollout alone: a source stays on its side, a
 * share that grows keeps the sources it had, and nobody outside can pick an address that falls on a side.
 */
export class SourceShare {
  readonly #key: Uint8Array;
  readonly #limit: number;
  /** Streams repeat themselves: the last answer spares most of the hashing. */
  #last: string | undefined;
  #isIncluded = false;

  /** `percent` in (0, 100]; the key is at least 16 bytes of this rollout. */
  constructor(key: Uint8Array, percent: number) {
    this.#key = key;
    this.#limit = (percent / 100) * 2 ** 32;
  }

  /** Who names no source is not part of the share: there would be nothing to stick to. */
  includes(source: string | undefined): boolean {
    if (source === undefined) return false;
    if (source !== this.#last) {
      this.#last = source;
      this.#isIncluded =
        createHmac('sha256', this.#key).update(source).digest().readUInt32LE(0) < this.#limit;
    }
    return this.#isIncluded;
  }
}
