import { type Milliseconds, SeededRandom } from '../base/index.ts';
import { type Address, ipv4Number, LINUX, WINDOWS } from './address.ts';
import { type Conversation, TCP, WHOLE } from './conversation.ts';
import { type Host, hostAt, takePort } from './host.ts';
import { Timeline } from './timeline.ts';

/** Networks set aside for benchmarks and documentation (RFC 2544, 5737, 3849) stand for the Internet. */
const INTERNET = ipv4Number('198.18.0.0');
const INTERNET_SIZE = 1 << 17;

export interface ConversationPlan {
  readonly label?: string;
  readonly protocol: number;
  readonly client: Host;
  readonly server: Host;
  readonly clientPort?: number;
  readonly serverPort?: number;
  readonly synOptions?: number;
}

/** What all actors share: the calendar, the dice, and the addresses already given away. */
export class Lab {
  readonly random: SeededRandom;
  readonly timeline: Timeline;
  /** When the capture ends. */
  readonly endMs: Milliseconds;
  readonly #internet = new Map<number, Host>();
  #nextSite = 0;

  constructor(seed: number, seconds: number) {
    this.random = new SeededRandom(seed);
    this.endMs = seconds * 1000;
    this.timeline = new Timeline(seconds * 1_000_000);
  }

  at(timeMs: Milliseconds, run: (timeMs: Milliseconds) => void): void {
    this.timeline.at(timeMs * 1000, (timeUs) => run(timeUs / 1000));
  }

  /** Repeats `run` from `startMs` on; it returns the pause until its next turn, or nothing to stop. */
  every(
    startMs: Milliseconds,
    untilMs: Milliseconds,
    run: (timeMs: Milliseconds) => Milliseconds | undefined,
  ): void {
    this.at(startMs, (now) => {
      if (now >= untilMs) return;
      const pause = run(now);
      if (pause !== undefined) this.every(now + Math.max(pause, 0.01), untilMs, run);
    });
  }

  /** A number that no other site has. */
  siteNumber(): number {
    return this.#nextSite++;
  }

  /**
   * A server on the Internet. Popular ones come often, so that the clients of one network share them; what is
   * popular differs from network to network (`taste`), for a capture sees one network, not all of its servers' clients.
   */
  internetHost(popular = true, taste = 0): Host {
    const { random } = this;
    const rank = popular
      ? Math.floor(random.pareto(1, 0.7)) % INTERNET_SIZE
      : random.integer(0, INTERNET_SIZE - 1);
    // Spreads ranks over the network; an odd factor keeps them apart.
    const offset = Math.imul(rank + taste * 1021, 40_503) & (INTERNET_SIZE - 1);
    let host = this.#internet.get(offset);
    if (host === undefined) {
      const stack = random.chance(0.8) ? LINUX : WINDOWS;
      host = hostAt(INTERNET + offset, [0x2001, 0xdb8, 0xffff, offset >>> 8, 0, 0, 0, offset & 255], stack);
      host.nextPort = random.integer(1025, 60000);
      this.#internet.set(offset, host);
    }
    return host;
  }

  /** The shared part of a conversation. IPv6 is spoken where both ends have it and the client's network prefers it. */
  conversation(plan: ConversationPlan): Conversation {
    const { client, server, protocol, label = 'benign' } = plan;
    const v6 =
      server.v6 !== undefined &&
      client.v6 !== undefined &&
      (client.onlyV6 || this.random.chance(client.v6Share));
    const from = v6 ? (client.v6 as Address) : client.v4;
    const to = v6 ? (server.v6 as Address) : server.v4;
    const timestamps = from.stack.timestamps && to.stack.timestamps;
    return {
      label,
      protocol,
      client: from,
      server: to,
      clientPort: plan.clientPort ?? (protocol === TCP || protocol === 17 ? takePort(client) : 0),
      serverPort: plan.serverPort ?? 0,
      lens: client.lens ?? server.lens ?? WHOLE,
      synOptions: plan.synOptions ?? 20,
      dataOptions: plan.synOptions === undefined && timestamps ? 12 : 0,
      ipId: this.random.uint32() & 0xffff,
      firstUs: -1,
      lastUs: -1,
      seen: false,
    };
  }
}
