import type { Milliseconds } from '../base/index.ts';
import type { Bus } from './bus.ts';

export interface LeaseOptions {
  /** Who asks; names itself in the value, for people. */
  readonly holder: string;
  /** A lease that was not renewed for this long may be taken. */
  readonly ttlMs: Milliseconds;
  readonly signal?: AbortSignal;
}

/** A right that one holder at a time has. */
export interface Lease {
  /** Grows with every holder: what a late holder sends can be told by it and refused. */
  readonly token: number;
  /** Aborts when the lease was lost or its renewal could not be confirmed in time. */
  readonly lost: AbortSignal;
  /** Stops renewing and lets the next one have it at once. */
  release(): Promise<void>;
}

const FREE = new Uint8Array(0);

/**
 * Takes a lease, or gives undefined where its holder goes on renewing. Nobody's clock is compared with anybody
 * else's: a contender watches the revision for `ttlMs` by its own clock, and takes what did not move; the holder counts
 * itself out when two thirds of that went by without a confirmed renewal. Needs one `ttlMs` where a holder died.
 */
export async function claimLease(bus: Bus, key: string, options: LeaseOptions): Promise<Lease | undefined> {
  const name = new TextEncoder().encode(options.holder);
  const found = await bus.get(key);
  if (found !== undefined && found.data.length > 0) {
    const moved = await outlive(bus, key, found.revision, options);
    if (moved) return undefined;
  }
  // Contenders may count from when the bus wrote it, which was before its answer came.
  const asked = performance.now();
  const token = await bus.put(key, name, found?.revision ?? 0);
  return token === undefined ? undefined : hold(bus, key, name, { token, asked, ttlMs: options.ttlMs });
}

/** Waits `ttlMs`; whether the value changed meanwhile, or waiting was called off. */
async function outlive(
  bus: Bus,
  key: string,
  revision: number,
  { ttlMs, signal }: LeaseOptions,
): Promise<boolean> {
  const until = performance.now() + ttlMs;
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(ttlMs / 4, until - performance.now())));
    if (signal?.aborted === true) return true;
    if ((await bus.get(key))?.revision !== revision) return true;
  }
  return false;
}

function hold(
  bus: Bus,
  key: string,
  name: Uint8Array,
  {
    token,
    asked,
    ttlMs,
  }: { readonly token: number; readonly asked: Milliseconds; readonly ttlMs: Milliseconds },
): Lease {
  const lost = new AbortController();
  let revision = token;
  let confirmed = asked;
  let working: Promise<void> = Promise.resolve();
  const renew = async () => {
    if (lost.signal.aborted) return;
    const at = performance.now();
    try {
      const next = await bus.put(key, name, revision);
      if (next === undefined) return stop();
      revision = next;
      confirmed = at;
    } catch {
      // Not confirmed: the deadline below decides.
    }
  };
  const timer = setInterval(() => {
    if (performance.now() - confirmed > (ttlMs * 2) / 3) stop();
    else working = working.then(renew);
  }, ttlMs / 6);
  const stop = () => {
    clearInterval(timer);
    lost.abort();
  };
  return {
    token,
    lost: lost.signal,
    release: async () => {
      clearInterval(timer);
      await working;
      if (!lost.signal.aborted) await bus.put(key, FREE, revision);
      lost.abort();
    },
  };
}
