import type { Clock, Milliseconds } from '../../base/index.ts';
import { LaneShare, type Priority, SojournBound } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';

/** `queue-delay`: it has waited too long. `priority`: live work is refused, too, so batch work goes first. */
export const SHED_REASONS = ['queue-delay', 'priority'] as const;
export type ShedReason = (typeof SHED_REASONS)[number];

/** A connection whose next request has come and waits for its turn. */
export interface Queued {
  /** Of that request. */
  readonly priority: Priority;
  readonly arrivedAt: Milliseconds;
  /** Whether it still waits: connections go. */
  readonly isWaiting: boolean;
  /** Whether others have come behind it on its connection. */
  readonly hasMore: boolean;
  /** Next in the same lane; the shedder's own. */
  next: Queued | undefined;
  /** The request goes on. */
  pass(): void;
  /**
   * Refuses the request, and then each one that has come behind it for which `isRefused` holds; what then comes first is offered.
   * Gives how many.
   */
  refuse(reason: ShedReason, isRefused: (queued: Queued) => boolean): number;
}

export interface LoadShedderOptions {
  readonly clock: Clock;
  readonly onShed: (reason: ShedReason, priority: Priority, count: number) => void;
  /** Calls back when the sockets have been read once more; `setImmediate` by default. */
  readonly afterRead?: (then: () => void) => void;
}

/** Requests that go on at once at the begin of a turn, before it is known what they cost. */
const AT_ONCE = 4;
const RETRY = { shortestS: 1, longestS: 30, windowMs: 1_000 };

/**
 * Decides which inference requests are worth reading beyond their head. Between two looks at the sockets the server works
 * for `turnMs`; what came meanwhile waits here and not in the kernel, so that its wait is seen. Live work goes first, and a queue
 * that stands is kept short by refusing what has waited too long, which costs a few microseconds.
 */
export class LoadShedder {
  readonly #options: LoadShedderOptions;
  readonly #afterRead: (then: () => void) => void;
  readonly #lanes: Readonly<Record<Priority, Lane>> = { live: new Lane(), batch: new Lane() };
  readonly #share = new LaneShare();
  #turnBegan: Milliseconds = 0;
  #isTurnOpen = false;
  #isEnding = false;
  #retryAfterS = RETRY.shortestS;
  #window = { began: 0, shed: 0, passed: 0 };

  constructor(options: LoadShedderOptions) {
    this.#options = options;
    this.#afterRead = options.afterRead ?? setImmediate;
  }

  /** Requests that wait at the head of their connections. */
  get waiting(): number {
    return this.#lanes.live.length + this.#lanes.batch.length;
  }

  /** When one that is refused now may come again, whole seconds. */
  get retryAfterS(): number {
    return this.#retryAfterS;
  }

  /** Since when what is read now may have lain in the kernel: sockets are looked at between turns. */
  readableSince(): Milliseconds {
    return this.waiting > 0 ? this.#turnBegan : this.#options.clock.monotonic();
  }

  /** Whether the request goes on at once. Else it waits here until `pass` or `refuse` is called. */
  offer(queued: Queued): boolean {
    if (this.waiting === 0 && !this.#isEnding && !this.#isTurnOver()) {
      this.#window.passed++;
      return true;
    }
    this.#lanes[queued.priority].push(queued);
    return false;
  }

  /** A request that went on was answered: the next one goes on while the turn lasts. */
  freed(): void {
    if (!this.#isEnding && this.waiting > 0 && !this.#isTurnOver()) this.#passOne();
  }

  #isTurnOver(): boolean {
    const now = this.#options.clock.monotonic();
    if (!this.#isTurnOpen) this.#openTurn(now);
    return now - this.#turnBegan > SERVER_LIMITS.turnMs;
  }

  #openTurn(now: Milliseconds): void {
    this.#isTurnOpen = true;
    this.#turnBegan = now;
    this.#afterRead(this.#endTurn);
  }

  /** The sockets have been read: what waits has its turn. */
  readonly #endTurn = (): void => {
    this.#isTurnOpen = false;
    const now = this.#options.clock.monotonic();
    const { live, batch } = this.#lanes;
    live.bound.note(live.length === 0, now);
    batch.bound.note(batch.length === 0, now);
    this.#countWindow(now);
    if (this.waiting === 0) return;
    this.#isEnding = true;
    if (live.bound.isStanding) {
      this.#sweep('batch', 0, 'priority', now);
      this.#sweep('live', live.bound.most, 'queue-delay', now);
    } else if (batch.bound.isStanding) this.#sweep('batch', batch.bound.most, 'queue-delay', now);
    this.#isEnding = false;
    this.#openTurn(this.#options.clock.monotonic());
    for (let i = 0; i < AT_ONCE && this.waiting > 0; i++) this.#passOne();
  };

  /** Refuses what has waited for so long. */
  #sweep(priority: Priority, most: Milliseconds, reason: ShedReason, now: Milliseconds): void {
    const lane = this.#lanes[priority];
    const isLate = (each: Queued): boolean => each.priority === priority && now - each.arrivedAt >= most;
    let refused = 0;
    for (let left = lane.length; left > 0; left--) {
      const queued = lane.shift() as Queued;
      if (!queued.isWaiting) continue;
      if (isLate(queued)) refused += queued.refuse(reason, isLate);
      else lane.push(queued);
    }
    if (refused === 0) return;
    this.#window.shed += refused;
    this.#options.onShed(reason, priority, refused);
  }

  #passOne(): void {
    const { live, batch } = this.#lanes;
    for (;;) {
      const isThrottled = live.bound.isStanding;
      const priority = this.#share.next(live.length > 0, batch.length > 0, isThrottled);
      const lane = this.#lanes[priority];
      const queued = lane.shift();
      if (queued === undefined) return;
      if (!queued.isWaiting) continue;
      if (lane.length === 0 && !queued.hasMore) lane.bound.note(true, this.#turnBegan);
      this.#share.took(priority, 1, this.#lanes[priority === 'live' ? 'batch' : 'live'].length > 0);
      this.#window.passed++;
      queued.pass();
      return;
    }
  }

  /** So many were refused for each that was not: spread over as many seconds they would have found room. */
  #countWindow(now: Milliseconds): void {
    const { began, shed, passed } = this.#window;
    if (now - began < RETRY.windowMs) return;
    const after = Math.ceil(shed / Math.max(1, passed));
    this.#retryAfterS = Math.max(RETRY.shortestS, Math.min(RETRY.longestS, after));
    this.#window = { began: now, shed: 0, passed: 0 };
  }
}

/** Connections whose next request waits, first come first served: each has one place, however much it sends. */
class Lane {
  readonly bound = new SojournBound();
  length = 0;
  #first: Queued | undefined;
  #last: Queued | undefined;

  push(queued: Queued): void {
    queued.next = undefined;
    if (this.#last === undefined) this.#first = queued;
    else this.#last.next = queued;
    this.#last = queued;
    this.length++;
  }

  shift(): Queued | undefined {
    const first = this.#first;
    if (first === undefined) return undefined;
    this.#first = first.next;
    if (this.#first === undefined) this.#last = undefined;
    first.next = undefined;
    this.length--;
    return first;
  }
}
