import type { Clock, Milliseconds } from '../../base/index.ts';
import { CoDel } from './codel.ts';
import { DrainRate } from './drain-rate.ts';
import { GradientLimit } from './gradient-limit.ts';
import { LaneShare } from './lanes.ts';
import type { Priority, Refusal, RefusalReason } from './refusal.ts';

/** What the machine can spare, as the monitor says. */
export type Pressure = 'none' | 'slow-training' | 'slow-batch' | 'shed';

export interface AdmissionOptions {
  readonly clock: Clock;
  /** Requests under way and waiting together. */
  readonly maxRequests: number;
  /** Below it the limit does not fall. */
  readonly workers: number;
  readonly pressure: () => Pressure;
}

/** So many that were withdrawn are let be in the queue. */
const MOST_GONE = 64;

/** One that waits for its turn. */
export interface Waiting {
  readonly priority: Priority;
  readonly arrived: Milliseconds;
  /** Called once: undefined lets it in. */
  readonly settle: (refusal: Refusal | undefined) => void;
  isGone: boolean;
}

/**
 * Who may begin, who waits, who is refused. As many are under way as the Gradient2 limit allows; the others wait, live before
 * batch work by nine to one, and leave the queue under CoDel, the lowest priority first. Timeless but for its clock: what leaves
 * makes room for what waits.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #limit: GradientLimit;
  readonly #codel = new CoDel();
  readonly #share = new LaneShare();
  readonly #drain = new DrainRate();
  readonly #lanes: Record<Priority, Waiting[]> = { live: [], batch: [] };
  #underWay = 0;
  #underWayBatch = 0;
  #waiting = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#limit = new GradientLimit({
      min: Math.max(1, Math.min(options.workers, options.maxRequests)),
      max: options.maxRequests,
    });
  }

  get limit(): number {
    return this.#limit.limit;
  }

  get underWay(): number {
    return this.#underWay;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Enters at once and gives undefined, or waits until `settle` is called, or is refused. */
  enter(priority: Priority, settle: Waiting['settle']): undefined | Waiting | Refusal {
    const pressure = this.#options.pressure();
    if (pressure === 'shed' && priority === 'batch') return this.refusal('throttled');
    if (this.#waiting === 0 && this.#hasRoom(priority, pressure)) {
      this.#begin(priority);
      return undefined;
    }
    // Live work goes last: under the hardest pressure it is still let in where there is room, and does not wait.
    if (pressure === 'shed') return this.refusal('throttled');
    if (this.#underWay + this.#waiting >= this.#options.maxRequests) {
      if (priority === 'batch' || !this.#giveUpOne('batch', 'priority')) return this.refusal('concurrency');
    }
    const waiting: Waiting = { priority, arrived: this.#options.clock.monotonic(), settle, isGone: false };
    this.#lanes[priority].push(waiting);
    this.#waiting++;
    this.#letIn();
    return waiting;
  }

  /** It waits no longer: withdrawn, or too late. */
  withdraw(waiting: Waiting): void {
    if (waiting.isGone) return;
    waiting.isGone = true;
    this.#waiting--;
    // Behind one that waits long they would only become more.
    const lane = this.#lanes[waiting.priority];
    if (lane.length <= 2 * this.#waiting + MOST_GONE) return;
    this.#lanes[waiting.priority] = lane.filter(({ isGone }) => !isGone);
  }

  /** One that entered is done. */
  leave(priority: Priority): void {
    this.#underWay--;
    if (priority === 'batch') this.#underWayBatch--;
    this.#drain.left(this.#options.clock.monotonic());
    this.#letIn();
  }

  /** How long a part of the work took from its entry into the queue to its answer. */
  observe(took: Milliseconds): void {
    this.#limit.update(took, this.#underWay);
  }

  refusal(reason: RefusalReason): Refusal {
    const now = this.#options.clock.monotonic();
    return { reason, retryAfterMs: this.#drain.timeFor(this.#waiting + 1, now) };
  }

  #hasRoom(priority: Priority, pressure: Pressure): boolean {
    if (this.#underWay >= this.#limit.limit) return false;
    return priority === 'live' || pressure !== 'slow-batch' || this.#underWayBatch === 0;
  }

  #begin(priority: Priority): void {
    this.#underWay++;
    if (priority === 'batch') this.#underWayBatch++;
  }

  #letIn(): void {
    const pressure = this.#options.pressure();
    for (;;) {
      const live = this.#first('live');
      const batch = this.#first('batch');
      const lane = this.#share.next(live !== undefined, batch !== undefined, pressure === 'slow-batch');
      const next = lane === 'live' ? live : batch;
      if (next === undefined || !this.#hasRoom(lane, pressure)) return;
      const now = this.#options.clock.monotonic();
      if (this.#codel.sheds(now - next.arrived, now, this.#waiting === 1)) {
        if (this.#giveUpOne('batch', 'queue-delay') || this.#giveUpOne('live', 'queue-delay')) continue;
      }
      this.#lanes[lane].shift();
      next.isGone = true;
      this.#waiting--;
      this.#share.took(lane, 1, (lane === 'live' ? batch : live) !== undefined);
      this.#begin(lane);
      next.settle(undefined);
    }
  }

  #first(lane: Priority): Waiting | undefined {
    const queue = this.#lanes[lane];
    while (queue[0]?.isGone) queue.shift();
    return queue[0];
  }

  /** The one that has waited longest: its caller is the likeliest to have given up. */
  #giveUpOne(lane: Priority, reason: RefusalReason): boolean {
    const victim = this.#first(lane);
    if (victim === undefined) return false;
    this.#lanes[lane].shift();
    victim.isGone = true;
    this.#waiting--;
    victim.settle(this.refusal(reason));
    return true;
  }
}
