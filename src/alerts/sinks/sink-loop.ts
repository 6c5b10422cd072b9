import { setTimeout as wait } from 'node:timers/promises';
import { type Clock, GuardianError, type Milliseconds, SteadyTime } from '../../base/index.ts';
import type { OutboxRow } from '../../storage/index.ts';
import { type Detection, readDetection } from '../detection.ts';
import { AlertsError } from '../errors.ts';
import { type NoticeSink, noticeKey } from './sink.ts';

/** A notice that a sink will not get. */
export interface LostNotice {
  readonly sink: string;
  readonly key: string;
  readonly uid: string;
  /** `refused` by the receiver, or `expired` while it could not be reached. */
  readonly because: 'refused' | 'expired';
  readonly code: string;
  readonly reason: string;
}

/** What came of one try. `retried`: it failed, and is tried again. */
export type NoticeResult = 'delivered' | 'retried' | 'refused' | 'expired';

export interface SinkStats {
  readonly delivered: number;
  /** Tries that failed; each notice may have several. */
  readonly failures: number;
  readonly lost: number;
  /** Code of the failure that it waits out; null where the last try was good. */
  readonly failing: string | null;
}

export interface SinkLoopParts {
  readonly sink: NoticeSink;
  readonly maxBackoffMs: Milliseconds;
  readonly giveUpAfterMs: Milliseconds;
  readonly clock: Clock;
  /** Notices after a number, oldest first. */
  readonly list: (after: number, limit: number) => Promise<readonly OutboxRow[]>;
  /** Keeps durably that every notice up to this number is dealt with. */
  readonly keep: (cursor: number) => Promise<void>;
  readonly noteLost: (lost: LostNotice) => Promise<void>;
  readonly onFailure?: (error: unknown) => void;
  /** Told of each try. */
  readonly onResult?: (result: NoticeResult) => void;
  readonly sleep?: (ms: Milliseconds, signal: AbortSignal) => Promise<void>;
  /** In [0, 1). */
  readonly random?: () => number;
}

const PAGE = 64;
const FIRST_BACKOFF_MS = 500;

/**
 * Brings waiting notices to one sink, oldest first; states of one finding never overtake each other. A failure stops the
 * sink and is waited out, so a receiver that is down is asked once a pause and not once a notice. What was sent is kept
 * page by page: after a crash a page at most is sent again, each notice under the key that it had.
 */
export class SinkLoop {
  readonly #parts: SinkLoopParts;
  readonly #stop = new AbortController();
  /** A clock that was set ahead must not make every notice too old. */
  readonly #steady: SteadyTime;
  /** Beyond the cursor, dealt with already. */
  readonly #done = new Set<number>();
  #cursor: number;
  #running: Promise<void> | undefined;
  #isWoken = false;
  #failedInRow = 0;
  #delivered = 0;
  #failures = 0;
  #lost = 0;
  #failing: string | null = null;

  constructor(parts: SinkLoopParts, cursor: number) {
    this.#parts = parts;
    this.#cursor = cursor;
    this.#steady = new SteadyTime(parts.clock);
  }

  get cursor(): number {
    return this.#cursor;
  }

  get stats(): SinkStats {
    return {
      delivered: this.#delivered,
      failures: this.#failures,
      lost: this.#lost,
      failing: this.#failing,
    };
  }

  /** There may be notices. */
  wake(): void {
    this.#isWoken = true;
    if (this.#stop.signal.aborted) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isWoken) this.wake();
    });
  }

  /** Resolves when nothing waits, or the sink is stopped. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Calls off what is under way; it is sent again after the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.idle();
    await this.#parts.sink.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (this.#isWoken && !signal.aborted) {
      this.#isWoken = false;
      try {
        while (!signal.aborted && (await this.#sendPage())) this.#failedInRow = 0;
        this.#failedInRow = 0;
        this.#failing = null;
      } catch (error) {
        if (signal.aborted) return;
        await this.#waitOut(error);
        this.#isWoken = true;
      }
    }
  }

  async #waitOut(error: unknown): Promise<void> {
    const { maxBackoffMs, onFailure, random = Math.random, sleep = pause } = this.#parts;
    this.#failing = codeOf(error);
    onFailure?.(error);
    const most = Math.min(maxBackoffMs, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failedInRow++, 20));
    const asked = error instanceof GuardianError ? (error.retryAfterMs ?? 0) : 0;
    await sleep(Math.max(asked, most * (0.5 + random() / 2)), this.#stop.signal);
  }

  /** Whether there was anything. Throws the first failure that a later try may mend. */
  async #sendPage(): Promise<boolean> {
    const { sink, list, keep } = this.#parts;
    const page = await list(this.#cursor, PAGE);
    if (page.length === 0) return false;
    // States of one finding stand in one lane, in order.
    const lanes = new Map<string, OutboxRow[]>();
    for (const row of page) {
      const lane = lanes.get(row.uid);
      if (lane === undefined) lanes.set(row.uid, [row]);
      else lane.push(row);
    }
    const waiting = [...lanes.values()];
    const failures: unknown[] = [];
    const work = async () => {
      while (failures.length === 0 && !this.#stop.signal.aborted) {
        const lane = waiting.shift();
        if (lane === undefined) return;
        for (const row of lane) {
          if (failures.length > 0 || this.#stop.signal.aborted) return;
          await this.#sendOne(row).catch((error: unknown) => failures.push(error));
        }
      }
    };
    await Promise.all(Array.from({ length: sink.concurrency }, work));
    await sink.settle?.();
    const open = page.findIndex(({ sequence }) => !this.#done.has(sequence));
    const reached = page[open === -1 ? page.length - 1 : open - 1]?.sequence;
    if (reached !== undefined) {
      await keep(reached);
      this.#cursor = reached;
      for (const sequence of this.#done) if (sequence <= reached) this.#done.delete(sequence);
    }
    if (failures.length > 0) throw failures[0];
    return open === -1;
  }

  async #sendOne(row: OutboxRow): Promise<void> {
    if (this.#done.has(row.sequence)) return;
    let detection: Detection;
    try {
      detection = readDetection(row.detection);
    } catch (error) {
      await this.#lose({ uid: row.uid, key: row.uid, because: 'refused', error });
      this.#done.add(row.sequence);
      return;
    }
    if (detection.suppressedBy === undefined) await this.#deliver(detection);
    this.#done.add(row.sequence);
  }

  async #deliver(detection: Detection): Promise<void> {
    const { sink, giveUpAfterMs, onResult } = this.#parts;
    try {
      await sink.send(detection, this.#stop.signal);
      this.#delivered++;
      onResult?.('delivered');
    } catch (error) {
      if (this.#stop.signal.aborted) throw error;
      this.#failures++;
      const isRefused = error instanceof AlertsError && error.code === 'alerts.notice-refused';
      const isExpired = this.#steady.now() - detection.modifiedMs > giveUpAfterMs;
      if (!isRefused && !isExpired) {
        onResult?.('retried');
        throw error;
      }
      const because = isRefused ? 'refused' : 'expired';
      await this.#lose({ uid: detection.uid, key: noticeKey(detection), because, error });
    }
  }

  /** Noted before it counts as dealt with: where the log cannot be written it is tried again. */
  async #lose(
    lost: Pick<LostNotice, 'uid' | 'key' | 'because'> & { readonly error: unknown },
  ): Promise<void> {
    const { error, ...rest } = lost;
    const reason = error instanceof GuardianError ? error.message : 'an unexpected fault';
    await this.#parts.noteLost({ sink: this.#parts.sink.name, ...rest, code: codeOf(error), reason });
    this.#lost++;
    this.#parts.onResult?.(rest.because);
  }
}

function codeOf(error: unknown): string {
  return error instanceof GuardianError ? error.code : 'unknown';
}

async function pause(ms: Milliseconds, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal, ref: false }).catch(() => {});
}
