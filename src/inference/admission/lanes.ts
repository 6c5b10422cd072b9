import type { Priority } from './refusal.ts';

/** Of ten turns while both wait, live work gets nine. */
const LIVE_SHARE = 9;

/**
 * Whose turn it is where live and batch work wait for the same thing: nine parts live to one part batch, so that batch work
 * does not starve. A turn that a lane had no use for is not saved up.
 */
export class LaneShare {
  /** Live turns minus nine times batch turns, while both wait. */
  #balance = 0;

  /** `isThrottled` leaves batch work only what live work has no use for. */
  next(isLiveWaiting: boolean, isBatchWaiting: boolean, isThrottled = false): Priority {
    if (!isBatchWaiting || isThrottled) {
      if (isLiveWaiting || !isBatchWaiting) return 'live';
      return 'batch';
    }
    if (!isLiveWaiting) return 'batch';
    return this.#balance >= LIVE_SHARE ? 'batch' : 'live';
  }

  /** Notes what was taken, in whatever unit the turns are counted in, and whether the other lane waited meanwhile. */
  took(lane: Priority, amount: number, didOtherWait: boolean): void {
    if (!didOtherWait) this.#balance = 0;
    else this.#balance += lane === 'live' ? amount : -LIVE_SHARE * amount;
  }
}
