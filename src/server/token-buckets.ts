import type { Clock, Milliseconds } from '../base/index.ts';

export interface BucketSize {
  /** Tokens a second. */
  readonly perSecond: number;
  /** Tokens of a full bucket. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  at: Milliseconds;
}

const ROUNDING = 1e-6;

/**
 * A token bucket for each name: so many requests at once, so many a second after that. Names are bounded in number;
 * the one unused longest is forgotten for a new one, and begins with a full bucket when it comes back.
 */
export class TokenBuckets {
  readonly #clock: Clock;
  readonly #size: BucketSize;
  readonly #maxNames: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, size: BucketSize, maxNames: number) {
    this.#clock = clock;
    this.#size = size;
    this.#maxNames = maxNames;
  }

  /** Takes one token: 0, or, where there was none, the milliseconds until there is one. */
  take(name: string): Milliseconds {
    const { perSecond, burst } = this.#size;
    const now = this.#clock.monotonic();
    const bucket = this.#buckets.get(name) ?? { tokens: Math.max(1, burst), at: now };
    bucket.tokens = Math.min(Math.max(1, burst), bucket.tokens + ((now - bucket.at) * perSecond) / 1000);
    bucket.at = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, bucket);
    if (this.#buckets.size > this.#maxNames)
      this.#buckets.delete(this.#buckets.keys().next().value as string);
    const missing = 1 - bucket.tokens;
    // Fractions of tokens add up to a whole one but for rounding.
    if (missing > ROUNDING) return Math.max(1, Math.ceil((missing * 1000) / perSecond - ROUNDING));
    bucket.tokens = Math.max(0, bucket.tokens - 1);
    return 0;
  }
}

/** What counts as one address: a host of IPv6 has a whole /64 to itself. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] as string).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
