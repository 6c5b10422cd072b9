import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { SeededRandom } from '../../../src/base/index.ts';
import { Latencies, type LoadOrder, type LoadResult } from './load.ts';

/** How long answers are waited for after the last request was to be sent, ms. */
const DRAIN_MS = 2_000;
/** A run whose oldest unsent request has waited this long is lost, ms. */
const HOPELESS_MS = 1_000;
/** Below this the generator spins: a timer is a millisecond late. */
const SPIN_MS = 2;
/** `HTTP/1.1 200` at the digits. */
const STATUS_AT = 9;
const OK = 0x32_30_30;
/** What every connection is read into, one after the other: nothing is allocated for an answer that comes whole. */
const READ_BUFFER = Buffer.alloc(256 * 1024);

interface Connection {
  socket: Socket;
  /** When the request in flight was to be sent; NaN where none is. */
  due: number;
  /** Bytes of an answer whose head has not come to its end. */
  head: Buffer | undefined;
  /** Bytes of a body that are still to come. */
  missing: number;
  isOk: boolean;
  isLast: boolean;
}

/**
 * Requests in an open loop: a Poisson process says when each is to be sent, whatever became of those before. One waits where all
 * connections are busy, and its waiting counts. One request at a time on a connection. How late the generator itself was is told
 * apart: from when a request was to be sent to when it saw that, whether or not a connection was free then.
 */
export async function runHttp(order: LoadOrder): Promise<LoadResult> {
  return await new HttpLoad(order).run();
}

class HttpLoad {
  readonly #order: LoadOrder;
  readonly #latencies = new Latencies();
  readonly #delays = new Latencies();
  readonly #lags = new Latencies();
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  /** When each request is to be sent, from the start, ms. */
  readonly #due: Float64Array;
  /** Requests that were due so far, and those that were sent. */
  #seen = 0;
  #sent = 0;
  #startMs = 0;
  #busy = 0;
  #failed = 0;
  #firstFailure: string | undefined;
  #lastAnswer = 0;
  #isOver = false;

  constructor(order: LoadOrder) {
    this.#order = order;
    this.#due = arrivals(order);
  }

  async run(): Promise<LoadResult> {
    const { seconds, connections } = this.#order;
    await Promise.all(Array.from({ length: connections }, () => this.#open()));
    const start = performance.now();
    this.#startMs = start;
    const end = start + seconds * 1_000;
    const due = this.#due;
    await new Promise<void>((resolve) => {
      const turn = (): void => {
        const now = performance.now();
        for (; this.#seen < due.length && start + (due[this.#seen] as number) <= now; this.#seen++) {
          this.#lags.add(now - start - (due[this.#seen] as number));
        }
        this.#sendWaiting();
        const isWaiting = this.#sent < this.#seen;
        const isHopeless = isWaiting && now - start - (due[this.#sent] as number) > HOPELESS_MS;
        const isAnswered = this.#seen === due.length && this.#busy === 0 && !isWaiting;
        const next = this.#seen < due.length ? start + (due[this.#seen] as number) : now;
        if (isHopeless || isAnswered || now > end + DRAIN_MS) resolve();
        else if (next - now > SPIN_MS) setTimeout(turn, next - now - SPIN_MS / 2);
        else setImmediate(turn);
      };
      turn();
    });
    this.#isOver = true;
    const unanswered = this.#seen - this.#sent + this.#busy;
    for (const { socket } of this.#all) socket.destroy();
    const [p50 = 0, p99 = 0, p999 = 0, max = 0] = this.#latencies.quantiles([0.5, 0.99, 0.999, 1]);
    const tookS = (Math.max(this.#lastAnswer, start + 1) - start) / 1_000;
    return {
      ...{ sent: this.#sent, answered: this.#latencies.count, failed: this.#failed + unanswered },
      perSecond: this.#latencies.count / tookS,
      ...{ p50, p99, p999, max, sendDelayP99: this.#delays.quantiles([0.99])[0] as number },
      lagP99: this.#lags.quantiles([0.99])[0] as number,
      lagMax: this.#lags.quantiles([1])[0] as number,
      ...(this.#firstFailure !== undefined && { firstFailure: this.#firstFailure }),
    };
  }

  async #open(): Promise<void> {
    const callback = (count: number, buffer: Uint8Array): boolean => {
      this.#receive(connection, buffer as Buffer, count);
      return true;
    };
    const { port } = this.#order;
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer: READ_BUFFER, callback } });
    socket.setNoDelay(true);
    const connection: Connection = {
      ...{ socket, due: Number.NaN, head: undefined, missing: 0, isOk: false, isLast: false },
    };
    await once(socket, 'connect');
    this.#all.add(connection);
    this.#idle.push(connection);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#all.delete(connection);
      const at = this.#idle.indexOf(connection);
      if (at >= 0) this.#idle.splice(at, 1);
      if (this.#isOver) return;
      if (!Number.isNaN(connection.due)) this.#fail('a connection broke');
      // Servers end connections after so many requests.
      this.#open().catch(() => this.#noteFailure('no new connection'));
    });
  }

  #sendWaiting(): void {
    const { requests } = this.#order;
    while (this.#sent < this.#seen && this.#idle.length > 0) {
      const connection = this.#idle.pop() as Connection;
      connection.due = this.#startMs + (this.#due[this.#sent] as number);
      this.#delays.add(performance.now() - connection.due);
      connection.socket.write(requests[this.#sent++ % requests.length] as Uint8Array);
      this.#busy++;
    }
  }

  /** Bytes [0, count) of a buffer that the next read overwrites. */
  #receive(connection: Connection, buffer: Buffer, count: number): void {
    if (connection.missing > 0) {
      connection.missing -= count;
      if (connection.missing <= 0) this.#answered(connection);
      return;
    }
    const here = buffer.subarray(0, count);
    const bytes = connection.head === undefined ? here : Buffer.concat([connection.head, here]);
    const end = bytes.indexOf('\r\n\r\n', 0, 'latin1');
    if (end < 0) {
      connection.head = Buffer.from(bytes);
      return;
    }
    connection.head = undefined;
    connection.isOk = bytes.readUIntBE(STATUS_AT, 3) === OK;
    connection.isLast = bytes.subarray(0, end).includes('nection: close', 0, 'latin1');
    const length = contentLength(bytes, end);
    if (!connection.isOk || Number.isNaN(length)) {
      this.#noteFailure(
        bytes.toString('latin1', 0, Math.min(bytes.length, end + 200)).replaceAll('\r\n', ' '),
      );
    }
    connection.missing = end + 4 + (length || 0) - bytes.length;
    if (connection.missing <= 0) this.#answered(connection);
  }

  #answered(connection: Connection): void {
    connection.missing = 0;
    const now = performance.now();
    if (connection.isOk) {
      this.#latencies.add(now - connection.due);
      this.#lastAnswer = now;
    }
    this.#busy--;
    connection.due = Number.NaN;
    if (connection.isLast) connection.socket.end();
    else this.#idle.push(connection);
    if (!this.#isOver) this.#sendWaiting();
  }

  #fail(what: string): void {
    this.#busy--;
    this.#noteFailure(what);
  }

  #noteFailure(what: string): void {
    this.#failed++;
    this.#firstFailure ??= what;
  }
}

/** A Poisson process: ms from the start, ascending, drawn before anything is sent. */
function arrivals({ rate, seconds, seed }: LoadOrder): Float64Array {
  const random = new SeededRandom(seed);
  const all: number[] = [];
  for (let at = 0; at < seconds * 1_000; ) {
    all.push(at);
    at += (-Math.log(random.uniform(1e-12, 1)) * 1_000) / rate;
  }
  return Float64Array.from(all);
}

/** NaN where the head, which ends at `end`, says none. */
function contentLength(bytes: Buffer, end: number): number {
  let at = bytes.indexOf('ontent-length: ', 0, 'latin1');
  if (at < 0) at = bytes.indexOf('ontent-Length: ', 0, 'latin1');
  if (at < 0 || at > end) return Number.NaN;
  let length = 0;
  for (at += 15; at < end; at++) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) break;
    length = length * 10 + digit;
  }
  return length;
}
