import type { Clock, Milliseconds } from '../base/index.ts';
import { type AccessKeyRow, type Database, isDatabaseAway } from '../storage/index.ts';
import { SERVER_LIMITS } from './limits.ts';

type Keys = Database['accessKeys'];

const caches = new WeakMap<object, KnownKeys>();

/** The rows of keys that came in lately; the port, the socket and gRPC of a guardian share them. */
export function knownKeys(keys: Keys, clock: Clock): KnownKeys {
  let found = caches.get(keys);
  if (found === undefined) {
    found = new KnownKeys(keys, clock);
    caches.set(keys, found);
  }
  return found;
}

/**
 * Rows of API keys for as long as `knownKeyMs`: a query a request would cost more than the scoring of it. What another
 * process revokes in a shared database counts within that time; what this one revokes counts at once (`forget`). Ids
 * that are not known are asked for each time, so strangers fill nothing. While the database is away the rows it gave last count
 * for `knownKeyAwayMs`: nobody can revoke a key in it then, and scoring needs nothing else of it.
 */
export class KnownKeys implements Pick<Keys, 'findAccessKey'> {
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #rows = new Map<string, { readonly row: AccessKeyRow; readonly at: Milliseconds }>();
  /** Grows with every change: what was read before one must not be kept after it. */
  #changes = 0;

  constructor(keys: Keys, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  async findAccessKey(id: string): Promise<AccessKeyRow | undefined> {
    const now = this.#clock.monotonic();
    const known = this.#rows.get(id);
    if (known !== undefined && now - known.at < SERVER_LIMITS.knownKeyMs) return known.row;
    const changes = this.#changes;
    let row: AccessKeyRow | undefined;
    try {
      row = await this.#keys.findAccessKey(id);
    } catch (error) {
      const isOfUse = known !== undefined && now - known.at < SERVER_LIMITS.knownKeyAwayMs;
      if (isOfUse && changes === this.#changes && isDatabaseAway(error)) return known.row;
      throw error;
    }
    this.#rows.delete(id);
    if (row === undefined || changes !== this.#changes) return row;
    if (this.#rows.size >= SERVER_LIMITS.bucketNames) {
      this.#rows.delete(this.#rows.keys().next().value as string);
    }
    this.#rows.set(id, { row, at: now });
    return row;
  }

  /** To be called once a key has changed. */
  forget(id: string): void {
    this.#changes++;
    this.#rows.delete(id);
  }
}
