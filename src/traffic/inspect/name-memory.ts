import type { DnsName } from './name-text.ts';

/** Places of names; one that is met later takes the place of another. */
const PLACES = 1_024;
/** Bytes of a name on the wire; longer ones are read anew each time. */
const ROOM = 64;

/**
 * DNS names that were read lately, by their bytes on the wire: a response repeats the name of its query, and names are
 * asked for again. What is found is the same whether it is remembered or not.
 */
export class NameMemory {
  readonly #names = new Array<DnsName | undefined>(PLACES).fill(undefined);
  /** Length of each name, then its bytes. */
  readonly #bytes = new Uint8Array(PLACES * ROOM);
  #place = 0;
  #length = 0;

  /** The name at `at`, if it is written out, ends before `end`, and is remembered; `remember` may follow. */
  find(bytes: Uint8Array, at: number, end: number): DnsName | undefined {
    this.#length = 0;
    let next = at;
    for (;;) {
      if (next >= end) return undefined;
      const size = bytes[next]!;
      if (size === 0) break;
      if (size > 63) return undefined;
      next += 1 + size;
    }
    const length = next - at;
    if (length >= ROOM) return undefined;
    let hash = length;
    for (let i = at; i < next; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const place = (hash ^ (hash >>> 15)) & (PLACES - 1);
    this.#place = place;
    this.#length = length;
    const name = this.#names[place];
    if (name === undefined) return undefined;
    const known = this.#bytes;
    const first = place * ROOM;
    if (known[first] !== length) return undefined;
    for (let i = 0; i < length; i++) if (known[first + 1 + i] !== bytes[at + i]) return undefined;
    return name;
  }

  /** Keeps the name at `at`, which was looked for and not found just before. */
  remember(bytes: Uint8Array, at: number, name: DnsName): void {
    if (this.#length === 0) return;
    const first = this.#place * ROOM;
    this.#names[this.#place] = name;
    this.#bytes[first] = this.#length;
    for (let i = 0; i < this.#length; i++) this.#bytes[first + 1 + i] = bytes[at + i]!;
  }

  /** Forgets all, and zeroes what was kept of packets. */
  wipe(): void {
    this.#names.fill(undefined);
    this.#bytes.fill(0);
  }
}
