/** One run of the generator: requests are whole HTTP messages, taken in turn. */
export interface LoadOrder {
  readonly kind: 'http';
  readonly port: number;
  readonly requests: readonly Uint8Array[];
  /** Requests a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly connections: number;
  readonly seed: number;
}

/** gRPC in a closed loop: `inFlight` calls, or requests of one stream, wait at a time. */
export interface GrpcOrder {
  readonly kind: 'unary' | 'stream';
  readonly target: string;
  readonly key: string;
  readonly model: string;
  /** Bytes of one row each, taken in turn. */
  readonly rows: readonly Uint8Array[];
  readonly seconds: number;
  readonly inFlight: number;
}

export type Order = LoadOrder | GrpcOrder;

/** What a run saw. Latencies in milliseconds, from the moment a request was to be sent. */
export interface LoadResult {
  readonly sent: number;
  readonly answered: number;
  /** Answers other than 200, broken connections, and what was not answered in the time. */
  readonly failed: number;
  /** Good answers a second, from the first that was to be sent to the last answer. */
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** From when a request was to be sent to when it was, p99: what it waited for the generator and for a free connection. */
  readonly sendDelayP99: number;
  /** From when a request was to be sent to when the generator saw that: its own delay. */
  readonly lagP99: number;
  readonly lagMax: number;
  readonly firstFailure?: string;
}

/** Latencies as they come, with no bound on their number. */
export class Latencies {
  #values = new Float64Array(1 << 16);
  count = 0;

  add(milliseconds: number): void {
    if (this.count === this.#values.length) {
      const wider = new Float64Array(this.count * 2);
      wider.set(this.#values);
      this.#values = wider;
    }
    this.#values[this.count++] = milliseconds;
  }

  /** At these shares, each in [0, 1]; NaN where there is none. */
  quantiles(shares: readonly number[]): number[] {
    const sorted = this.#values.slice(0, this.count).sort();
    return shares.map((share) => {
      const at = Math.min(this.count - 1, Math.max(0, Math.ceil(share * this.count) - 1));
      return Number((sorted[at] ?? Number.NaN).toFixed(3));
    });
  }
}
