import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import type { Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';

/** Values under it are the heartbeats of workers, one a worker. */
export const ROLL = 'training-workers';

export const WORKER_ID = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Subject on which a worker is asked. */
export function workerSubject(id: string): string {
  return `train.worker.${id}`;
}

const beatSchema = z.strictObject({ v: z.literal(1), id: z.string().regex(WORKER_ID), beat: z.int().min(0) });

export function encodeBeat(id: string, beat: number): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: 1, id, beat } satisfies z.output<typeof beatSchema>));
}

interface Seen {
  revision: number;
  /** By this process's clock: no two clocks are compared. */
  at: Milliseconds;
  /** Revision up to which the worker counts as lost. */
  lost: number;
}

/** Who of the workers on a bus is alive: whose heartbeat changed within `ttlMs`. */
export class WorkerRoll {
  readonly #ttlMs: Milliseconds;
  readonly #seen = new Map<string, Seen>();
  readonly #ended = new AbortController();

  constructor(bus: Bus, ttlMs: Milliseconds) {
    this.#ttlMs = ttlMs;
    void this.#follow(bus);
  }

  alive(): string[] {
    const now = performance.now();
    return [...this.#seen]
      .filter(([, { revision, at, lost }]) => revision > lost && now - at < this.#ttlMs)
      .map(([id]) => id)
      .sort();
  }

  /** Until its next heartbeat the worker is not alive. */
  lose(id: string): void {
    const seen = this.#seen.get(id);
    if (seen !== undefined) seen.lost = seen.revision;
  }

  /** Waits until `enough` workers are alive; whether they are when the time is over. */
  async waitFor(enough: number, withinMs: Milliseconds): Promise<boolean> {
    const until = performance.now() + withinMs;
    while (this.alive().length < enough) {
      if (performance.now() >= until || this.#ended.signal.aborted) return false;
      await wait(Math.min(20, this.#ttlMs / 4));
    }
    return true;
  }

  /** Resolves to false when the worker's heartbeat stops, to true when `done` aborts before. */
  async outlives(id: string, done: AbortSignal): Promise<boolean> {
    while (!done.aborted) {
      if (!this.alive().includes(id)) return false;
      await wait(this.#ttlMs / 4, undefined, { signal: done, ref: false }).catch(() => {});
    }
    return true;
  }

  close(): void {
    this.#ended.abort();
  }

  async #follow(bus: Bus): Promise<void> {
    while (!this.#ended.signal.aborted) {
      try {
        for await (const { data, revision } of bus.watch(ROLL, this.#ended.signal))
          this.#note(data, revision);
        return;
      } catch {
        // The bus is away: who is not heard of meanwhile is not alive.
        await wait(this.#ttlMs / 4, undefined, { ref: false });
      }
    }
  }

  #note(data: Uint8Array, revision: number): void {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder().decode(data));
    } catch {
      return;
    }
    const beat = beatSchema.safeParse(value);
    if (!beat.success) return;
    const lost = this.#seen.get(beat.data.id)?.lost ?? 0;
    // The last word of a worker that goes is beat 0.
    const at = beat.data.beat === 0 ? Number.NEGATIVE_INFINITY : performance.now();
    this.#seen.set(beat.data.id, { revision, at, lost });
  }
}
