import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { SeededRandom } from '../../../src/base/index.ts';
import { Latencies } from './load.ts';

/** An answer is good for something within this time from the moment its request was to be sent, ms. */
export const IN_TIME_MS = 100;
export const WINDOW_MS = 250;
/** How long answers are waited for after the last request, ms. */
const DRAIN_MS = 5_000;
/** Requests are sent together that fall due within so long, ms. */
const TOGETHER_MS = 1;

/** Requests of one kind, with connections of their own. */
export interface FloodStream {
  readonly name: string;
  /** Whole HTTP messages, taken in turn. */
  readonly requests: readonly Uint8Array[];
  readonly connections: number;
  /** Requests under way on one connection at most; what finds no room is dropped here and counted as unsent. */
  readonly depth: number;
}

export interface FloodPhase {
  readonly name: string;
  readonly seconds: number;
  /** Requests a second of each stream, Poisson. */
  readonly rates: readonly number[];
}

export interface FloodOrder {
  readonly kind: 'flood';
  readonly port: number;
  readonly streams: readonly FloodStream[];
  readonly phases: readonly FloodPhase[];
  readonly seed: number;
}

/** What became of the requests of one stream that fell due in one phase. sent = good + refused + failed. Times in ms. */
export interface FloodCounts {
  readonly due: number;
  readonly unsent: number;
  readonly sent: number;
  readonly good: number;
  readonly inTime: number;
  /** 503 and 429. */
  readonly refused: number;
  /** Of those: without a code that says why, or without Retry-After. */
  readonly unexplained: number;
  /** Any other status, broken connections, and what was never answered. */
  readonly failed: number;
  readonly firstFailure?: string;
  /** By what the refusals say. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Of refusals. */
  readonly refusedP99: number;
  /** How late the generator was itself. */
  readonly sendLateP99: number;
}

/** A quarter of a second of the whole run, by the time that requests fell due. */
export interface FloodWindow {
  readonly inTime: number;
  readonly late: number;
  readonly refused: number;
}

export interface FloodResult {
  /** By phase, then by stream. */
  readonly phases: readonly (readonly FloodCounts[])[];
  readonly windows: readonly FloodWindow[];
}

/** Keeps sending at a rate, whatever becomes of it: many requests on each connection, in a pipeline. */
export async function runFlood(order: FloodOrder): Promise<FloodResult> {
  const { streams, phases } = order;
  const windowCount = Math.ceil(phases.reduce((sum, { seconds }) => sum + seconds, 0) / (WINDOW_MS / 1_000));
  const windows = Array.from({ length: windowCount }, () => ({ inTime: 0, late: 0, refused: 0 }));
  const clock = { began: performance.now() };
  const lines = streams.map((stream) => new StreamFlood(order.port, stream, phases.length, windows, clock));
  await Promise.all(lines.map((each) => each.open()));
  const random = new SeededRandom(order.seed);
  const gap = (rate: number) => (rate > 0 ? (-Math.log(random.uniform(1e-12, 1)) * 1_000) / rate : Infinity);
  clock.began = performance.now();
  let from = clock.began;
  for (const [p, { seconds, rates }] of phases.entries()) {
    const begin = from;
    const end = begin + seconds * 1_000;
    const next = rates.map((rate) => begin + gap(rate));
    await new Promise<void>((resolve) => {
      const turn = (): void => {
        const now = performance.now();
        for (const [s, line] of lines.entries()) {
          let due = next[s] as number;
          for (; due <= now && due < end; due += gap(rates[s] as number)) line.send(due, p, now);
          next[s] = due;
          line.flush();
        }
        if (now >= end) resolve();
        else setTimeout(turn, TOGETHER_MS);
      };
      turn();
    });
    from = end;
  }
  const until = performance.now() + DRAIN_MS;
  while (lines.some((each) => each.underWay > 0) && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  for (const each of lines) each.close();
  return { phases: phases.map((_, p) => lines.map((line) => line.counts(p))), windows };
}

/** What an answer's bytes say, kept by their text. */
interface Head {
  readonly status: number;
  readonly length: number;
  readonly hasRetryAfter: boolean;
  readonly isLast: boolean;
}

class Tally {
  due = 0;
  unsent = 0;
  sent = 0;
  inTime = 0;
  refused = 0;
  unexplained = 0;
  failed = 0;
  firstFailure: string | undefined;
  readonly reasons = new Map<string, number>();
  readonly good = new Latencies();
  readonly refusals = new Latencies();
  readonly delays = new Latencies();

  fail(what: string, count = 1): void {
    this.failed += count;
    if (count > 0) this.firstFailure ??= what;
  }
}

class Line {
  socket: Socket | undefined;
  /** When the requests under way fell due, oldest first, and in which phase: rings. */
  readonly dues: Float64Array;
  readonly phases: Uint8Array;
  first = 0;
  count = 0;
  toSend: Uint8Array[] = [];
  received: Buffer | undefined;

  constructor(depth: number) {
    this.dues = new Float64Array(depth);
    this.phases = new Uint8Array(depth);
  }
}

class StreamFlood {
  readonly #port: number;
  readonly #stream: FloodStream;
  readonly #windows: { inTime: number; late: number; refused: number }[];
  readonly #clock: { began: number };
  readonly #lines: Line[];
  readonly #tallies: Tally[];
  readonly #heads = new Map<string, Head>();
  #at = 0;
  #taken = 0;
  #isOver = false;
  underWay = 0;

  constructor(
    port: number,
    stream: FloodStream,
    phases: number,
    windows: { inTime: number; late: number; refused: number }[],
    clock: { began: number },
  ) {
    this.#port = port;
    this.#stream = stream;
    this.#windows = windows;
    this.#clock = clock;
    this.#lines = Array.from({ length: stream.connections }, () => new Line(stream.depth));
    this.#tallies = Array.from({ length: phases }, () => new Tally());
  }

  async open(): Promise<void> {
    await Promise.all(this.#lines.map((line) => this.#connect(line)));
  }

  send(due: number, phase: number, now: number): void {
    const tally = this.#tallies[phase] as Tally;
    tally.due++;
    const { depth, requests } = this.#stream;
    for (let tries = 0; tries < this.#lines.length; tries++) {
      const line = this.#lines[this.#at++ % this.#lines.length] as Line;
      if (line.count >= depth || line.socket === undefined) continue;
      const place = (line.first + line.count++) % depth;
      line.dues[place] = due;
      line.phases[place] = phase;
      line.toSend.push(requests[this.#taken++ % requests.length] as Uint8Array);
      tally.sent++;
      tally.delays.add(now - due);
      this.underWay++;
      return;
    }
    tally.unsent++;
  }

  flush(): void {
    for (const line of this.#lines) {
      const [one] = line.toSend;
      if (one === undefined) continue;
      line.socket?.write(line.toSend.length === 1 ? one : Buffer.concat(line.toSend));
      line.toSend = [];
    }
  }

  close(): void {
    this.#isOver = true;
    for (const line of this.#lines) {
      this.#lose(line, 'never answered');
      line.socket?.destroy();
    }
  }

  counts(phase: number): FloodCounts {
    const { due, unsent, sent, inTime, refused, unexplained, failed, firstFailure, ...others } = this
      .#tallies[phase] as Tally;
    const [p50, p99, max] = others.good.quantiles([0.5, 0.99, 1]) as [number, number, number];
    return {
      ...{ due, unsent, sent, good: others.good.count, inTime, refused, unexplained, failed },
      ...(firstFailure !== undefined && { firstFailure }),
      ...{ reasons: Object.fromEntries(others.reasons), p50, p99, max },
      refusedP99: others.refusals.quantiles([0.99])[0] as number,
      sendLateP99: others.delays.quantiles([0.99])[0] as number,
    };
  }

  async #connect(line: Line): Promise<void> {
    const socket = connect(this.#port, '127.0.0.1').setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.#receive(line, chunk));
    socket.once('close', () => {
      if (this.#isOver) return;
      line.socket = undefined;
      line.received = undefined;
      this.#lose(line, 'a connection broke');
      // Servers end connections after so many requests.
      this.#connect(line).catch(() => undefined);
    });
    await once(socket, 'connect');
    line.socket = socket;
  }

  /** Nobody will answer what is under way. */
  #lose(line: Line, why: string): void {
    line.toSend = [];
    for (; line.count > 0; line.count--) {
      (this.#tallies[line.phases[line.first] as number] as Tally).fail(why);
      line.first = (line.first + 1) % this.#stream.depth;
      this.underWay--;
    }
  }

  #receive(line: Line, chunk: Buffer): void {
    const bytes = line.received === undefined ? chunk : Buffer.concat([line.received, chunk]);
    let at = 0;
    const now = performance.now();
    while (at < bytes.length) {
      const headEnd = bytes.indexOf('\r\n\r\n', at);
      if (headEnd < 0) break;
      const head = this.#head(bytes.toString('latin1', at, headEnd));
      const end = headEnd + 4 + head.length;
      if (!(end <= bytes.length)) break;
      this.#answered(line, head, bytes, headEnd + 4, end, now);
      at = end;
    }
    line.received = at === bytes.length ? undefined : bytes.subarray(at);
  }

  #head(text: string): Head {
    const known = this.#heads.get(text);
    if (known !== undefined) return known;
    const head = {
      status: Number(text.slice(9, 12)),
      length: Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0),
      hasRetryAfter: /\r\nretry-after: *[1-9]\d*(\r\n|$)/i.test(text),
      isLast: /\r\nconnection: *close/i.test(text),
    };
    // Heads carry the time of day.
    if (this.#heads.size > 4_096) this.#heads.clear();
    this.#heads.set(text, head);
    return head;
  }

  #answered(line: Line, head: Head, bytes: Buffer, from: number, to: number, now: number): void {
    if (line.count === 0) return;
    const due = line.dues[line.first] as number;
    const tally = this.#tallies[line.phases[line.first] as number] as Tally;
    line.first = (line.first + 1) % this.#stream.depth;
    line.count--;
    this.underWay--;
    const took = now - due;
    const window = this.#windows[Math.floor((due - this.#clock.began) / WINDOW_MS)];
    if (head.status === 200) {
      tally.good.add(took);
      if (took <= IN_TIME_MS) tally.inTime++;
      if (window !== undefined) {
        if (took <= IN_TIME_MS) window.inTime++;
        else window.late++;
      }
    } else if (head.status === 503 || head.status === 429) {
      tally.refused++;
      tally.refusals.add(took);
      if (window !== undefined) window.refused++;
      const body = bytes.toString('latin1', from, to);
      const code = /"code":"([^"]+)"/.exec(body)?.[1];
      const reason = `${code}${/\(([a-z-]+)\)/.exec(body)?.[0] ?? ''}`;
      if (code === undefined || !head.hasRetryAfter) tally.unexplained++;
      tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1);
    } else tally.fail(`status ${head.status} ${bytes.toString('latin1', from, Math.min(to, from + 200))}`);
    if (head.isLast) line.socket?.end();
  }
}
