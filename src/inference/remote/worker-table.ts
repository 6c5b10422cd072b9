import { setTimeout as wait } from 'node:timers/promises';
import type { Clock, Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import { BEAT_MS, decodeBeat, WORKERS_PREFIX, type WorkerBeat } from './worker-beacon.ts';

interface Known {
  beat: WorkerBeat;
  heard: Milliseconds;
  /** Whether it was heard more than once: what lies on the bus from before says nothing of now. */
  isLive: boolean;
}

/** Unheard for so long it is gone. */
const GONE_AFTER: Milliseconds = 3 * BEAT_MS;
const AGAIN_MS: Milliseconds = 1_000;

/** Which workers are there now, and for which models, as heard by the owner's own clock: nobody's clocks are compared. */
export class WorkerTable {
  readonly #clock: Clock;
  readonly #onChange: (id: string) => void;
  readonly #known = new Map<string, Known>();
  readonly #closed = new AbortController();
  #sweeper: NodeJS.Timeout | undefined;
  #watching: Promise<void> = Promise.resolve();

  /** `onChange` is told of each worker that came, went, or is ready for other models. */
  constructor(clock: Clock, onChange: (id: string) => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get workers(): number {
    let workers = 0;
    for (const { isLive, beat } of this.#known.values()) if (isLive && beat.threads > 0) workers++;
    return workers;
  }

  /** Batches that workers ready for a model score at once. */
  threadsFor(object: string): number {
    let threads = 0;
    for (const { isLive, beat } of this.#known.values()) {
      if (isLive && beat.models.includes(object)) threads += beat.threads;
    }
    return threads;
  }

  join(bus: Bus): void {
    this.#sweeper = setInterval(() => this.#sweep(), BEAT_MS).unref();
    this.#watching = this.#watch(bus);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    clearInterval(this.#sweeper);
    await this.#watching;
  }

  async #watch(bus: Bus): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        for await (const { data } of bus.watch(WORKERS_PREFIX, signal)) this.#hear(data);
      } catch {
        // Who is not heard is gone in time; the bus is asked again.
      }
      if (!signal.aborted) await wait(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  #hear(data: Uint8Array): void {
    let beat: WorkerBeat;
    try {
      beat = decodeBeat(data);
    } catch {
      return;
    }
    const heard = this.#clock.monotonic();
    const known = this.#known.get(beat.id);
    if (known === undefined) {
      this.#known.set(beat.id, { beat, heard, isLive: false });
      return;
    }
    if (beat.beat <= known.beat.beat) return;
    const isOther =
      !known.isLive || known.beat.threads !== beat.threads || !sameList(known.beat.models, beat.models);
    this.#known.set(beat.id, { beat, heard, isLive: true });
    if (isOther) this.#onChange(beat.id);
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [id, known] of this.#known) {
      if (!known.isLive || now - known.heard <= GONE_AFTER) continue;
      known.isLive = false;
      this.#onChange(id);
    }
  }
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
