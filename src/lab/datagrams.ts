import type { Milliseconds } from '../base/index.ts';
import { type Conversation, ICMP, ICMPV6, UDP } from './conversation.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { dnsMessage } from './payload.ts';

/** Plans datagrams of one conversation. */
export class Datagrams {
  readonly conversation: Conversation;
  readonly #lab: Lab;

  constructor(lab: Lab, conversation: Conversation) {
    this.#lab = lab;
    this.conversation = conversation;
  }

  send(timeMs: Milliseconds, bytes: number, payload?: Uint8Array): this {
    this.#lab.timeline.plan(this.conversation, timeMs * 1000, false, 0, bytes, 0, 0, payload);
    return this;
  }

  reply(timeMs: Milliseconds, bytes: number, payload?: Uint8Array): this {
    this.#lab.timeline.plan(this.conversation, timeMs * 1000, true, 0, bytes, 0, 0, payload);
    return this;
  }
}

export interface UdpPlan {
  readonly client: Host;
  readonly server: Host;
  readonly port: number;
  readonly clientPort?: number;
  readonly label?: string;
}

export function udp(lab: Lab, { client, server, port, clientPort, label }: UdpPlan): Datagrams {
  return new Datagrams(
    lab,
    lab.conversation({
      protocol: UDP,
      client,
      server,
      serverPort: port,
      ...(clientPort === undefined ? {} : { clientPort }),
      ...(label === undefined ? {} : { label }),
    }),
  );
}

/** Packets of an IP protocol that has no ports (GRE, ESP, OSPF, IGMP and the like). */
export function rawIp(lab: Lab, protocol: number, client: Host, server: Host): Datagrams {
  return new Datagrams(lab, lab.conversation({ protocol, client, server }));
}

export interface IcmpPlan {
  readonly client: Host;
  readonly server: Host;
  readonly label?: string;
}

const ECHO = { request: 8, reply: 0, request6: 128, reply6: 129 } as const;

/** ICMP of either version between two hosts. */
export class Icmp {
  readonly #lab: Lab;
  readonly #conversation: Conversation;
  readonly #id: number;

  constructor(lab: Lab, { client, server, label }: IcmpPlan) {
    const plan = { client, server, ...(label === undefined ? {} : { label }) };
    const made = lab.conversation({ ...plan, protocol: ICMP });
    this.#conversation = made.client.bytes.length === 16 ? { ...made, protocol: ICMPV6 } : made;
    this.#lab = lab;
    this.#id = lab.random.uint32() & 0xffff;
  }

  echo(timeMs: Milliseconds, bytes: number, sequence = 1): this {
    this.#plan(timeMs, false, this.#isV6() ? ECHO.request6 : ECHO.request, 0, bytes, this.#rest(sequence));
    return this;
  }

  echoReply(timeMs: Milliseconds, bytes: number, sequence = 1): this {
    this.#plan(timeMs, true, this.#isV6() ? ECHO.reply6 : ECHO.reply, 0, bytes, this.#rest(sequence));
    return this;
  }

  /** Destination unreachable, sent by this conversation's client; `code` as in IPv4 (3 is: port). */
  unreachable(timeMs: Milliseconds, code: number, bytes = 36): this {
    this.#plan(timeMs, false, this.#isV6() ? 1 : 3, this.#isV6() && code === 3 ? 4 : code, bytes, 0);
    return this;
  }

  /** Any message, sent by this conversation's client; types differ between the versions. */
  message(timeMs: Milliseconds, type: number, code: number, bytes: number): this {
    this.#plan(timeMs, false, type, code, bytes, 0);
    return this;
  }

  #isV6(): boolean {
    return this.#conversation.protocol === ICMPV6;
  }

  #rest(sequence: number): number {
    return this.#id * 65536 + (sequence & 0xffff);
  }

  #plan(
    timeMs: Milliseconds,
    fromServer: boolean,
    type: number,
    code: number,
    bytes: number,
    rest: number,
  ): void {
    this.#lab.timeline.plan(this.#conversation, timeMs * 1000, fromServer, type, bytes, code, rest);
  }
}

export interface DnsPlan {
  readonly client: Host;
  readonly resolver: Host;
  readonly name: string;
  readonly type: number;
  readonly timeMs: Milliseconds;
  readonly rttMs: Milliseconds;
  /** 0 no error, 3 no such name, -1 no answer. */
  readonly answer: number;
  readonly answerBytes: number;
  readonly clientPort?: number;
  readonly label?: string;
}

/** One question over UDP and, unless lost, its answer; returns when the client knows. */
export function askDns(lab: Lab, plan: DnsPlan): Milliseconds {
  const { client, resolver, name, type, timeMs, rttMs, answer, answerBytes, clientPort, label } = plan;
  const id = lab.random.uint32() & 0xffff;
  const query = dnsMessage({ id, name, type, answer: -1 });
  const flow = udp(lab, {
    client,
    server: resolver,
    port: 53,
    ...(clientPort === undefined ? {} : { clientPort }),
    ...(label === undefined ? {} : { label }),
  });
  const queryBytes = query.length + (lab.random.chance(0.5) ? 11 : 0);
  flow.send(timeMs, queryBytes, query);
  if (answer < 0) return timeMs + 5000;
  const done = timeMs + rttMs;
  flow.reply(done, Math.min(1472, query.length + answerBytes), dnsMessage({ id, name, type, answer }));
  return done;
}
