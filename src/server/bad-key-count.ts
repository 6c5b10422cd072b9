import type { Clock } from '../base/index.ts';
import { SERVER_LIMITS } from './limits.ts';

interface Window {
  readonly since: number;
  count: number;
}

/**
 * Counts bad keys by peer. It limits what a stranger can make the server write and answer; it does not keep good
 * keys from the same address out, since on loopback every caller has one address, and 256 bits are not guessed.
 */
export class BadKeyCount {
  readonly #clock: Clock;
  readonly #peers = new Map<string, Window>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes one more; true once the peer has had its share of the window. */
  add(peer: string): boolean {
    const now = this.#clock.monotonic();
    let window = this.#peers.get(peer);
    if (window === undefined || now - window.since >= SERVER_LIMITS.badKeyWindowMs) {
      window = { since: now, count: 0 };
      this.#peers.delete(peer);
      if (this.#peers.size >= SERVER_LIMITS.countedPeers) {
        this.#peers.delete(this.#peers.keys().next().value as string);
      }
      this.#peers.set(peer, window);
    }
    window.count++;
    return window.count > SERVER_LIMITS.badKeys;
  }
}
