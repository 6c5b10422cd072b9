import { setTimeout as wait } from 'node:timers/promises';
import type { Milliseconds } from '../../base/index.ts';
import { type Bus, claimLease, type Lease } from '../../bus/index.ts';
import { PARTITIONS_KEY } from './messages.ts';

export interface PartitionShareOptions {
  readonly bus: Bus;
  /** Names this worker in its leases, for people. */
  readonly holder: string;
  /** Partitions of a worker that does not renew for this long go to others. */
  readonly leaseMs: Milliseconds;
  /**
   * Works on a partition until the signal aborts, and resolves when nothing of it is in hand any more. `isTakeover`
   * where another worker held it to its end.
   */
  readonly work: (partition: number, ended: AbortSignal, isTakeover: boolean) => Promise<void>;
  /** While it is not, it holds nothing. */
  readonly isReady: () => boolean;
  readonly onError: (error: unknown) => void;
}

const SEATS = 'events-seat';
const LEASES = 'events-lease';

interface Seat {
  readonly revision: number;
  readonly isTaken: boolean;
  /** When it moved last, by our clock. */
  readonly movedAt: Milliseconds;
}

/**
 * This worker's share of the partitions. Each partition is a lease. Each worker holds a seat besides, a lease by which the
 * others see that it is there: with W seats that move, nobody holds more than a W-th of the partitions, rounded up. Who has
 * more gives some back; whose holder went silent are taken by whoever saw it first. There are as many seats as
 * partitions: a worker too many waits for one.
 */
export class PartitionShare {
  readonly #options: PartitionShareOptions;
  readonly #closed = new AbortController();
  readonly #seats = new Map<string, Seat>();
  readonly #held = new Map<number, AbortController>();
  readonly #loops: Promise<void>[] = [];
  #partitions = 0;
  #claiming = 0;
  #hasSeat = false;

  constructor(options: PartitionShareOptions) {
    this.#options = options;
  }

  /** Partitions that are worked on now, in order. */
  get held(): readonly number[] {
    return [...this.#held.keys()].sort((a, b) => a - b);
  }

  start(): void {
    this.#loops.push(
      this.#repeat(() => this.#readPartitions()),
      this.#repeat(() => this.#sit()),
      this.#repeat(() => this.#watchSeats()),
      this.#repeat(async () => this.#trim()),
    );
  }

  /** Finishes what is in hand and gives every lease back. */
  async close(): Promise<void> {
    this.#closed.abort();
    for (const stop of this.#held.values()) stop.abort();
    // A loop may start others until it ends itself.
    for (let i = 0; i < this.#loops.length; i++) await this.#loops[i];
  }

  get #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  get #turnMs(): Milliseconds {
    return this.#options.leaseMs / 8;
  }

  /** How many partitions we may hold. */
  get #share(): number {
    if (!this.#hasSeat || !this.#options.isReady()) return 0;
    const silentAfter = performance.now() - this.#options.leaseMs;
    const alive = [...this.#seats.values()].filter((seat) => seat.isTaken && seat.movedAt > silentAfter);
    return Math.ceil(this.#partitions / Math.max(1, alive.length));
  }

  async #repeat(turn: () => Promise<void>): Promise<void> {
    while (!this.#isClosed) {
      try {
        await turn();
      } catch (error) {
        if (!this.#isClosed) this.#options.onError(error);
      }
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    await wait(this.#turnMs, undefined, { signal: this.#closed.signal }).catch(() => {});
  }

  async #readPartitions(): Promise<void> {
    const value = await this.#options.bus.get(PARTITIONS_KEY);
    const partitions = Number(Buffer.from(value?.data ?? []).toString());
    if (!Number.isInteger(partitions) || partitions > 4_096) return;
    while (this.#partitions < partitions) {
      const partition = this.#partitions++;
      this.#loops.push(this.#repeat(() => this.#contend(partition)));
    }
  }

  async #watchSeats(): Promise<void> {
    for await (const { key, data, revision } of this.#options.bus.watch(SEATS, this.#closed.signal)) {
      this.#seats.set(key, { revision, isTaken: data.length > 0, movedAt: performance.now() });
    }
  }

  async #sit(): Promise<void> {
    if (!this.#options.isReady()) return;
    const seat = await this.#takeSeat();
    if (seat === undefined) return;
    this.#hasSeat = true;
    while (this.#options.isReady() && !seat.lost.aborted && !this.#isClosed) await this.#pause();
    // Others may count on us until nothing is held any more.
    while (this.#held.size > 0 && !seat.lost.aborted && !this.#isClosed) {
      this.#trim();
      await this.#pause();
    }
    this.#hasSeat = false;
    await seat.release();
  }

  async #takeSeat(): Promise<Lease | undefined> {
    const keys = Array.from({ length: this.#partitions }, (_, i) => `${SEATS}.s${i}`);
    for (const key of keys) {
      const seat = (await this.#isFree(key)) ? await this.#claim(key) : undefined;
      if (seat !== undefined) return seat;
    }
    // None is free: that of one who is gone becomes ours.
    const [first, ...others] = (await Promise.all(keys.map((key) => this.#claim(key)))).filter(
      (seat) => seat !== undefined,
    );
    for (const seat of others) await seat.release();
    return first;
  }

  async #contend(partition: number): Promise<void> {
    const key = `${LEASES}.p${partition}`;
    const isFree = await this.#isFree(key);
    if (isFree && this.#held.size + this.#claiming >= this.#share) return;
    if (!this.#hasSeat) return;
    if (isFree) this.#claiming++;
    let lease: Lease | undefined;
    const stop = new AbortController();
    try {
      lease = await this.#claim(key);
      if (lease !== undefined) this.#held.set(partition, stop);
    } finally {
      if (isFree) this.#claiming--;
    }
    if (lease === undefined) return;
    try {
      if (!this.#isClosed)
        await this.#options.work(partition, AbortSignal.any([lease.lost, stop.signal]), !isFree);
    } finally {
      this.#held.delete(partition);
      await lease.release();
    }
  }

  #trim(): void {
    const staying = [...this.#held.values()].filter(({ signal }) => !signal.aborted);
    const surplus = this.#hasSeat ? staying.length - this.#share : 0;
    for (const stop of staying.slice(0, Math.max(0, surplus))) stop.abort();
  }

  async #isFree(key: string): Promise<boolean> {
    return ((await this.#options.bus.get(key))?.data.length ?? 0) === 0;
  }

  #claim(key: string): Promise<Lease | undefined> {
    const { bus, holder, leaseMs } = this.#options;
    return claimLease(bus, key, { holder, ttlMs: leaseMs, signal: this.#closed.signal });
  }
}
