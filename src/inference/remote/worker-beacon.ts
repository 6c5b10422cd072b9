import { z } from 'zod';
import type { Milliseconds } from '../../base/index.ts';
import type { Bus } from '../../bus/index.ts';
import { InferenceError } from '../errors.ts';

/** Workers say under `PREFIX.id` that they are there. */
export const WORKERS_PREFIX = 'inference.workers';
/** Between two beats. Who was not heard for three of them is taken for gone. */
export const BEAT_MS: Milliseconds = 1_000;

const beatSchema = z.strictObject({
  v: z.literal(1),
  id: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/),
  /** Grows with every beat of a worker: one that does not is an echo. */
  beat: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  /** Batches that it scores at once; 0 from one that is going. */
  threads: z.number().int().min(0).max(256),
  /** Objects of the models that it is ready to score. */
  models: z.array(z.string().regex(/^model-[0-9a-f]{64}$/)).max(1_024),
});

/** That a worker is there, and for what. */
export type WorkerBeat = z.output<typeof beatSchema>;

/** Throws `inference.offer-refused`. */
export function decodeBeat(bytes: Uint8Array): WorkerBeat {
  try {
    return beatSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new InferenceError('inference.offer-refused', 'expected the beat of a worker, version 1', {
      cause,
    });
  }
}

/** Says on the bus, each second and at each change, what a worker is ready for. A beat that is lost is no harm. */
export class WorkerBeacon {
  readonly #bus: Bus;
  readonly #id: string;
  readonly #timer: NodeJS.Timeout;
  #threads: number;
  #models: readonly string[] = [];
  /** From the clock on, so that a worker that starts again under its name goes on upwards. */
  #beat = Date.now();
  #saying: Promise<void> | undefined;
  #isDue = false;

  constructor(bus: Bus, { id, threads }: { readonly id: string; readonly threads: number }) {
    this.#bus = bus;
    this.#id = id;
    this.#threads = threads;
    this.#timer = setInterval(() => void this.#say(), BEAT_MS);
    void this.#say();
  }

  /** What it is ready for from now on. */
  ready(models: readonly string[]): Promise<void> {
    this.#models = models;
    return this.#say();
  }

  /** Says that the worker goes, and nothing more after that. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#threads = 0;
    this.#models = [];
    await this.#say();
  }

  /** One at a time; what changed meanwhile is said behind it. */
  #say(): Promise<void> {
    if (this.#saying !== undefined) {
      this.#isDue = true;
      return this.#saying;
    }
    this.#saying = this.#put().finally(() => {
      this.#saying = undefined;
    });
    return this.#saying;
  }

  async #put(): Promise<void> {
    do {
      this.#isDue = false;
      this.#beat++;
      const beat: WorkerBeat = {
        ...{ v: 1, id: this.#id, beat: this.#beat, threads: this.#threads },
        models: [...this.#models],
      };
      // The next one says it again.
      await this.#bus
        .put(`${WORKERS_PREFIX}.${this.#id}`, Buffer.from(JSON.stringify(beat)))
        .catch(() => undefined);
    } while (this.#isDue);
  }
}
