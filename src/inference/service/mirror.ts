import { BatchSize, type Clock, type Milliseconds } from '../../base/index.ts';
import type { ScoreBatchBuffers } from '../../models/index.ts';
import { SIDES, type Side } from './comparison.ts';
import type { ShadowConfig } from './config.ts';

/** Runs something later, never at once; `delayMs` may be 0. */
export type Later = (work: () => void, delayMs: Milliseconds) => void;

/** A batch that was answered. The arrays are only read, and not after the call. */
export interface AnsweredRows {
  readonly rows: number;
  /** Float32Array, row-major rows x columns. */
  readonly values: Float32Array;
  readonly probability: Float32Array;
  /** Index into VERDICTS. */
  readonly verdict: Uint8Array;
}

/** The same rows by the other side, `rows` long; valid during the call alone. */
export interface MirroredRows {
  readonly side: Side;
  readonly rows: number;
  readonly took: Milliseconds;
  /** Of the side that answered. */
  readonly answered: { readonly probability: Float32Array; readonly verdict: Uint8Array };
  readonly probability: Float32Array;
}

export interface MirrorParts {
  readonly config: ShadowConfig;
  readonly columns: number;
  readonly clock: Clock;
  readonly later?: Later;
  /** Scores rows by one side; what it throws goes to `onFail`. */
  readonly score: (
    side: Side,
    values: Float32Array,
    rows: number,
    out: ScoreBatchBuffers,
  ) => void | Promise<void>;
  readonly onRows: (mirrored: MirroredRows) => void;
  readonly onFail: (side: Side, error: unknown, took: Milliseconds) => void;
  readonly onDrop: (rows: number) => void;
}

/** A part is to keep others waiting about half as long; a part that is too slow becomes smaller. */
const TARGET_MS: Milliseconds = 4;
const MAX_ROWS = 1_024;

/**
 * Shows rows that one version answered to the other, behind the answer's back: they wait in a ring of fixed size and are
 * scored a few at a time, with pauses so that comparing takes no more than its share of the time. What finds no room is
 * dropped. So a slow version is compared on fewer rows, and nobody waits for it. Rows are wiped when they were scored.
 */
export class Mirror {
  readonly #parts: MirrorParts;
  readonly #later: Later;
  readonly #sizes = new BatchSize({ targetMs: TARGET_MS, maxItems: MAX_ROWS });
  readonly #room: number;
  /** Rings of `room` rows. */
  readonly #values: Float32Array;
  readonly #probability: Float32Array;
  readonly #verdict: Uint8Array;
  /** Index into SIDES of the side that is still to score the row. */
  readonly #side: Uint8Array;
  readonly #out: ScoreBatchBuffers;
  #first = 0;
  #waiting = 0;
  #isRunning = false;
  #isClosed = false;
  #isPaused = false;

  constructor(parts: MirrorParts) {
    this.#parts = parts;
    this.#later = parts.later ?? defer;
    const room = parts.config.queueRows;
    this.#room = room;
    this.#values = new Float32Array(room * parts.columns);
    this.#probability = new Float32Array(room);
    this.#verdict = new Uint8Array(room);
    this.#side = new Uint8Array(room);
    const part = Math.min(room, MAX_ROWS);
    this.#out = { probability: new Float32Array(part), kind: new Int16Array(part) };
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** While paused every row is dropped: the machine has more important things to do. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
  }

  /** Copies the rows for the side that has not seen them; as many as find room. */
  offer(side: Side, batch: AnsweredRows): void {
    const { columns, onDrop } = this.#parts;
    const rows = this.#isClosed || this.#isPaused ? 0 : Math.min(batch.rows, this.#room - this.#waiting);
    if (rows < batch.rows) onDrop(batch.rows - rows);
    for (let from = 0; from < rows; ) {
      const at = (this.#first + this.#waiting) % this.#room;
      const to = Math.min(rows, from + this.#room - at);
      this.#values.set(batch.values.subarray(from * columns, to * columns), at * columns);
      this.#probability.set(batch.probability.subarray(from, to), at);
      this.#verdict.set(batch.verdict.subarray(from, to), at);
      this.#side.fill(SIDES.indexOf(side), at, at + to - from);
      this.#waiting += to - from;
      from = to;
    }
    if (rows > 0 && !this.#isRunning) {
      this.#isRunning = true;
      this.#later(this.#run, 0);
    }
  }

  /** Forgets what waits. */
  close(): void {
    this.#isClosed = true;
    this.#waiting = 0;
    this.#values.fill(0);
  }

  readonly #run = (): void => {
    void this.#next().then((took) => {
      if (this.#waiting === 0) this.#isRunning = false;
      else this.#later(this.#run, took * (1 / this.#parts.config.maxShare - 1));
    });
  };

  async #next(): Promise<Milliseconds> {
    if (this.#waiting === 0) return 0;
    const { columns, clock, score, onRows, onFail } = this.#parts;
    const at = this.#first;
    const rows = this.#partAt(at);
    const side = SIDES[this.#side[at] as number] as Side;
    const values = this.#values.subarray(at * columns, (at + rows) * columns);
    const started = clock.monotonic();
    let failure: { readonly error: unknown } | undefined;
    try {
      await score(side, values, rows, this.#out);
    } catch (error) {
      failure = { error };
    }
    const took = clock.monotonic() - started;
    this.#sizes.observe(rows, took);
    if (this.#isClosed) return took;
    if (failure !== undefined) onFail(side, failure.error, took);
    else {
      const probability = this.#out.probability.subarray(0, rows);
      const answered = {
        probability: this.#probability.subarray(at, at + rows),
        verdict: this.#verdict.subarray(at, at + rows),
      };
      onRows({ side, rows, took, answered, probability });
    }
    // The callbacks may have closed it.
    if (this.#isClosed) return took;
    values.fill(0);
    this.#first = (at + rows) % this.#room;
    this.#waiting -= rows;
    return took;
  }

  /** Rows from there that lie together and go to the same side. */
  #partAt(at: number): number {
    const most = Math.min(this.#sizes.next(), this.#waiting, this.#room - at, this.#out.kind.length);
    let rows = 1;
    while (rows < most && this.#side[at + rows] === this.#side[at]) rows++;
    return rows;
  }
}

/** Pauses below a millisecond are none: a timer cannot keep them. */
function defer(work: () => void, delayMs: Milliseconds): void {
  if (delayMs < 1) setImmediate(work);
  else setTimeout(work, delayMs).unref();
}
