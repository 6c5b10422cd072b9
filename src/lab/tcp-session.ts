import type { Milliseconds } from '../base/index.ts';
import { type Conversation, TCP } from './conversation.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

export interface TcpPlan {
  readonly client: Host;
  readonly server: Host;
  readonly port: number;
  readonly clientPort?: number;
  readonly startMs: Milliseconds;
  readonly rttMs: Milliseconds;
  readonly label?: string;
  /** Share of data segments lost and sent again. */
  readonly loss?: number;
  /** Bytes a millisecond. */
  readonly rate?: number;
  readonly synOptions?: number;
}

const DELAYED_ACK = 40;

/** Milliseconds after which an unanswered SYN is sent again: doubling from one (RFC 6298). */
const SYN_RETRIES = [1000, 3000, 7000, 15000, 31000];

/**
 * Plans one TCP connection, step by step; `now` is the time of the initiator, next to whom the capture point is.
 * Sequence numbers, acknowledgements of every second segment, retransmissions and ends are as on the wire.
 */
export class TcpSession {
  now: Milliseconds;
  readonly #lab: Lab;
  readonly #conversation: Conversation;
  readonly #rtt: Milliseconds;
  readonly #loss: number;
  readonly #rate: number;
  readonly #mss: number;
  /** Whether receivers hold their last acknowledgement back, hoping to send it along with data (RFC 1122, 4.2.3.2). */
  readonly #isDelayed: boolean;
  #held: { readonly timeMs: Milliseconds; readonly fromServer: boolean } | undefined;
  #clientNext: number;
  #serverNext: number;

  constructor(lab: Lab, plan: TcpPlan) {
    this.#lab = lab;
    this.#conversation = lab.conversation({
      protocol: TCP,
      client: plan.client,
      server: plan.server,
      serverPort: plan.port,
      ...(plan.clientPort === undefined ? {} : { clientPort: plan.clientPort }),
      ...(plan.label === undefined ? {} : { label: plan.label }),
      ...(plan.synOptions === undefined ? {} : { synOptions: plan.synOptions }),
    });
    this.now = plan.startMs;
    this.#rtt = plan.rttMs;
    this.#loss = plan.loss ?? 0;
    this.#rate = plan.rate ?? 2000;
    const header = this.#conversation.client.bytes.length === 16 ? 60 : 40;
    this.#mss = 1500 - header - this.#conversation.dataOptions;
    this.#isDelayed = lab.random.chance(0.6);
    this.#clientNext = lab.random.uint32();
    this.#serverNext = lab.random.uint32();
  }

  /** The handshake; `retries` SYNs are lost first. */
  open(retries = 0): this {
    this.#synRetries(retries);
    this.#emit(this.now, false, SYN, 0);
    this.#clientNext++;
    this.now += this.#trip();
    this.#emit(this.now, true, SYN | ACK, 0);
    this.#serverNext++;
    this.now += 0.03;
    this.#emit(this.now, false, ACK, 0);
    return this;
  }

  /** The SYN is answered with a reset; a stubborn stack tries `retries` times more. */
  refuse(retries = 0): this {
    for (let i = 0; i <= retries; i++) {
      this.#emit(this.now, false, SYN, 0);
      this.#clientNext++;
      this.now += this.#trip();
      // The reset acknowledges the SYN and carries sequence 0 (RFC 9293, 3.10.7.1).
      this.#lab.timeline.plan(
        this.#conversation,
        this.now * 1000,
        true,
        RST | ACK,
        0,
        0,
        this.#clientNext >>> 0,
      );
      this.#clientNext--;
      if (i < retries) this.now += 500;
    }
    return this;
  }

  /** Nobody answers: the SYN and `retries` repetitions. */
  unanswered(retries = 0): this {
    this.#synRetries(retries);
    this.#emit(this.now, false, SYN, 0);
    return this;
  }

  /** A half-open scan's end: SYN, SYN/ACK, then a reset by the initiator. */
  probe(): this {
    this.#emit(this.now, false, SYN, 0);
    this.#clientNext++;
    this.now += this.#trip();
    this.#emit(this.now, true, SYN | ACK, 0);
    this.#serverNext++;
    this.now += 0.05;
    this.#lab.timeline.plan(this.#conversation, this.now * 1000, false, RST, 0, this.#clientNext >>> 0, 0);
    return this;
  }

  /** The handshake stops after the SYN/ACK, which is sent `repeats` times more; a forged source may answer RST. */
  halfOpen(repeats: number, isReset: boolean): this {
    this.#emit(this.now, false, SYN, 0);
    this.#clientNext++;
    this.now += this.#trip();
    this.#emit(this.now, true, SYN | ACK, 0);
    for (let i = 0, pause = 1000; i < repeats; i++, pause *= 2)
      this.#emit(this.now + pause, true, SYN | ACK, 0);
    if (isReset)
      this.#lab.timeline.plan(
        this.#conversation,
        (this.now + 0.1) * 1000,
        false,
        RST,
        0,
        this.#clientNext >>> 0,
        0,
      );
    return this;
  }

  /** The initiator's data; time moves on until all is sent. */
  send(bytes: number, payload?: Uint8Array): this {
    return this.#data(bytes, false, payload);
  }

  /** The responder's data; time moves on until all has come. */
  reply(bytes: number, payload?: Uint8Array): this {
    return this.#data(bytes, true, payload);
  }

  /** Time passes: thinking, waiting for a disk, idling. */
  wait(ms: Milliseconds): this {
    this.now += ms;
    return this;
  }

  /** A keep-alive probe and its answer; some stacks put a byte of garbage into it. */
  keepAlive(): this {
    const garbage = this.#conversation.client.stack.timestamps ? 0 : 1;
    const { timeline } = this.#lab;
    timeline.plan(
      this.#conversation,
      this.now * 1000,
      false,
      ACK,
      garbage,
      (this.#clientNext - 1) >>> 0,
      this.#serverNext >>> 0,
    );
    this.now += this.#trip();
    this.#emit(this.now, true, ACK, 0);
    return this;
  }

  /** The last packets of a connection that began before the capture. */
  remainder(): this {
    const { random } = this.#lab;
    if (random.chance(0.3)) this.#emit(this.now, random.chance(0.5), ACK, 0);
    if (random.chance(0.3)) this.keepAlive();
    if (random.chance(0.3)) this.send(random.integer(1, 200)).reply(random.integer(1, 400));
    if (random.chance(0.3)) return this.reset(random.chance(0.5) ? 'client' : 'server');
    return random.chance(0.8) ? this.finish(random.chance(0.5) ? 'client' : 'server') : this.keepAlive();
  }

  /** An orderly end. */
  finish(by: 'client' | 'server' = 'client'): this {
    const byServer = by === 'server';
    if (byServer) this.now += this.#trip() / 2;
    this.#emit(this.now, byServer, FIN | ACK, 0);
    if (byServer) this.#serverNext++;
    else this.#clientNext++;
    this.now += byServer ? 0.1 : this.#trip();
    this.#emit(this.now, !byServer, FIN | ACK, 0);
    if (byServer) this.#clientNext++;
    else this.#serverNext++;
    this.now += byServer ? this.#trip() : 0.03;
    this.#emit(this.now, byServer, ACK, 0);
    return this;
  }

  /** A reset instead of an orderly end. */
  reset(by: 'client' | 'server' = 'client'): this {
    this.now += 0.05;
    this.#emit(this.now, by === 'server', RST | ACK, 0);
    return this;
  }

  /** The responder ends in order, the initiator has closed its socket already and answers with a reset. */
  abort(): this {
    this.#emit(this.now, true, FIN | ACK, 0);
    this.#serverNext++;
    return this.reset('client');
  }

  #synRetries(retries: number): void {
    const start = this.now;
    for (let i = 0; i < retries; i++) {
      this.#emit(this.now, false, SYN, 0);
      this.now = start + (SYN_RETRIES[i] ?? 63000) * this.#lab.random.uniform(0.99, 1.02);
    }
  }

  #data(bytes: number, fromServer: boolean, payload?: Uint8Array): this {
    const { random, timeline } = this.#lab;
    const mss = this.#mss;
    const rtt = this.#trip();
    const stretch = bytes > 200_000 ? 8 : bytes > 30_000 ? 4 : 2;
    let left = bytes;
    let unacknowledged = 0;
    let first = true;
    // The responder's data is seen half a round trip of waiting later; its acknowledgements at once.
    if (fromServer) this.now += rtt;
    while (left > 0) {
      const size = Math.min(mss, left);
      left -= size;
      const flags = left === 0 ? ACK | PSH : ACK;
      if (this.#loss > 0 && random.chance(this.#loss)) {
        const again = this.now + Math.max(200, rtt * 1.5) * random.uniform(1, 1.3);
        const next = fromServer ? this.#serverNext : this.#clientNext;
        const other = fromServer ? this.#clientNext : this.#serverNext;
        timeline.plan(this.#conversation, again * 1000, fromServer, flags, size, next >>> 0, other >>> 0);
      }
      this.#emit(this.now, fromServer, flags, size, first ? payload : undefined);
      first = false;
      if (fromServer) this.#serverNext += size;
      else this.#clientNext += size;
      unacknowledged++;
      if (unacknowledged === stretch || (left === 0 && !this.#isDelayed)) {
        this.#emit(this.now + (fromServer ? 0.02 : rtt), !fromServer, ACK, 0);
        unacknowledged = 0;
      } else if (left === 0) {
        this.#held = { timeMs: this.now + DELAYED_ACK + (fromServer ? 0 : rtt), fromServer: !fromServer };
      }
      if (left > 0) this.now += (size / this.#rate) * random.uniform(0.7, 1.3);
    }
    this.now += 0.05;
    return this;
  }

  /** One round trip with its jitter. */
  #trip(): Milliseconds {
    return this.#rtt * this.#lab.random.uniform(0.95, 1.25);
  }

  /** Sends a held acknowledgement, unless the side that owes it speaks in time. */
  #settle(timeMs: Milliseconds, fromServer: boolean): void {
    const held = this.#held;
    if (held === undefined || (timeMs <= held.timeMs && fromServer !== held.fromServer)) return;
    this.#held = undefined;
    if (timeMs > held.timeMs) this.#emit(held.timeMs, held.fromServer, ACK, 0);
  }

  #emit(
    timeMs: Milliseconds,
    fromServer: boolean,
    flags: number,
    length: number,
    payload?: Uint8Array,
  ): void {
    this.#settle(timeMs, fromServer);
    const sequence = (fromServer ? this.#serverNext : this.#clientNext) >>> 0;
    const acknowledgement = flags === SYN ? 0 : (fromServer ? this.#clientNext : this.#serverNext) >>> 0;
    this.#lab.timeline.plan(
      this.#conversation,
      timeMs * 1000,
      fromServer,
      flags,
      length,
      sequence,
      acknowledgement,
      payload,
    );
  }
}
