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

interface Connection {
  socket: Socket;
  /** When the request in flight was to be sent; NaN where none is. */
  due: number;
  received: Buffer | undefined;
}

/**
 * Requests in an open loop: a Poisson process says when each is to be sent, whatever became of those before. One waits where all
 * connections are busy, and its waiting counts. One request at a time on a connection.
 */
export async function runHttp(order: LoadOrder): Promise<LoadResult> {
  return await new HttpLoad(order).run();
}

class HttpLoad {
  readonly #order: LoadOrder;
  readonly #random: SeededRandom;
  readonly #latencies = new Latencies();
  readonly #delays = new Latencies();
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #waiting: number[] = [];
  #waitingFrom = 0;
  #sent = 0;
  #busy = 0;
  #failed = 0;
  #firstFailure: string | undefined;
  #lastAnswer = 0;
  #isOver = false;

  constructor(order: LoadOrder) {
    this.#order = order;
    this.#random = new SeededRandom(order.seed);
  }

  async run(): Promise<LoadResult> {
    const { rate, seconds, connections } = this.#order;
    await Promise.all(Array.from({ length: connections }, () => this.#open()));
    const start = performance.now();
    const end = start + seconds * 1_000;
    let next = start;
    await new Promise<void>((resolve) => {
      const turn = (): void => {
        const now = performance.now();
        while (next <= now && next < end) {
          this.#waiting.push(next);
          next += (-Math.log(this.#random.uniform(1e-12, 1)) * 1_000) / rate;
        }
        this.#sendWaiting();
        const oldest = this.#waiting[this.#waitingFrom];
        const isHopeless = oldest !== undefined && now - oldest > HOPELESS_MS;
        const isAnswered = next >= end && this.#busy === 0 && oldest === undefined;
        if (isHopeless || isAnswered || now > end + DRAIN_MS) resolve();
        else if (next - now > SPIN_MS && next < end) setTimeout(turn, next - now - SPIN_MS / 2);
        else setImmediate(turn);
      };
      turn();
    });
    this.#isOver = true;
    const unanswered = this.#waiting.length - this.#waitingFrom + this.#busy;
    for (const { socket } of this.#all) socket.destroy();
    const [p50, p99, p999, max] = this.#latencies.quantiles([0.5, 0.99, 0.999, 1]) as [
      number,
      number,
      number,
      number,
    ];
    const tookS = (Math.max(this.#lastAnswer, start + 1) - start) / 1_000;
    return {
      ...{ sent: this.#sent, answered: this.#latencies.count, failed: this.#failed + unanswered },
      perSecond: this.#latencies.count / tookS,
      ...{ p50, p99, p999, max, sendDelayP99: this.#delays.quantiles([0.99])[0] as number },
      ...(this.#firstFailure !== undefined && { firstFailure: this.#firstFailure }),
    };
  }

  async #open(): Promise<void> {
    const socket = connect(this.#order.port, '127.0.0.1').setNoDelay(true);
    await once(socket, 'connect');
    const connection: Connection = { socket, due: Number.NaN, received: undefined };
    this.#all.add(connection);
    this.#idle.push(connection);
    socket.on('data', (chunk: Buffer) => this.#receive(connection, chunk));
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
    while (this.#waitingFrom < this.#waiting.length && this.#idle.length > 0) {
      const connection = this.#idle.pop() as Connection;
      connection.due = this.#waiting[this.#waitingFrom++] as number;
      this.#delays.add(performance.now() - connection.due);
      connection.socket.write(requests[this.#sent++ % requests.length] as Uint8Array);
      this.#busy++;
    }
    if (this.#waitingFrom > 65_536) {
      this.#waiting.splice(0, this.#waitingFrom);
      this.#waitingFrom = 0;
    }
  }

  #receive(connection: Connection, chunk: Buffer): void {
    const received = connection.received === undefined ? chunk : Buffer.concat([connection.received, chunk]);
    const headEnd = received.indexOf('\r\n\r\n');
    const head = headEnd < 0 ? '' : received.toString('latin1', 0, headEnd);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (!(received.length >= headEnd + 4 + length)) {
      connection.received = received;
      return;
    }
    connection.received = undefined;
    const now = performance.now();
    if (head.startsWith('HTTP/1.1 200')) {
      this.#latencies.add(now - connection.due);
      this.#lastAnswer = now;
      this.#busy--;
    } else this.#fail(`${head.split('\r\n')[0]} ${received.toString('latin1', headEnd + 4, headEnd + 200)}`);
    connection.due = Number.NaN;
    if (/\r\nconnection: *close/i.test(head)) connection.socket.end();
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
