import { randomUUID } from 'node:crypto';
import type { Milliseconds } from '../base/index.ts';
import type { CurvePoint } from '../training/index.ts';
import type { Api } from './api.ts';

/** Time between two messages; points wait for the next one. */
const EVERY_MS: Milliseconds = 1_000;
/** Points that wait at most; older ones are dropped. */
const MAX_WAITING = 256;

/**
 * Tells the owner of the state how a training goes, at most once a second. A training does not fail by it: the first
 * message that does not get through is told to `onFailure`, and what comes later is tried anew.
 */
export class LiveCurve {
  readonly #api: Pick<Api, 'call'>;
  readonly #model: string;
  readonly #now: () => Milliseconds;
  readonly #onFailure: (error: unknown) => void;
  readonly #id = randomUUID();
  #waiting: CurvePoint[] = [];
  #telling: Promise<void> = Promise.resolve();
  #isTelling = false;
  #hasFailed = false;
  #last = Number.NEGATIVE_INFINITY;

  constructor(
    api: Pick<Api, 'call'>,
    model: string,
    options: { readonly now: () => Milliseconds; readonly onFailure: (error: unknown) => void },
  ) {
    this.#api = api;
    this.#model = model;
    this.#now = options.now;
    this.#onFailure = options.onFailure;
  }

  add(point: CurvePoint): void {
    this.#waiting.push(point);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    if (this.#isTelling || this.#now() - this.#last < EVERY_MS) return;
    this.#telling = this.#tell('running');
  }

  /** Resolves when the end is told, or could not be. */
  async end(state: 'done' | 'failed'): Promise<void> {
    await this.#telling;
    await this.#tell(state);
  }

  async #tell(state: 'running' | 'done' | 'failed'): Promise<void> {
    this.#isTelling = true;
    this.#last = this.#now();
    const points = this.#waiting;
    this.#waiting = [];
    try {
      await this.#api.call('POST', `/v1/training/runs/${this.#id}`, { model: this.#model, state, points });
    } catch (error) {
      if (!this.#hasFailed) this.#onFailure(error);
      this.#hasFailed = true;
    } finally {
      this.#isTelling = false;
    }
  }
}
