import type { Milliseconds } from '../../base/index.ts';
import { askDns, udp } from '../datagrams.ts';
import { type Host, takePort } from '../host.ts';
import type { Lab } from '../lab.ts';
import { encodedName, hostName } from '../names.ts';
import { A, AAAA, dnsMessage, PTR, TLS_ANSWER, TLS_DATA, TLS_HELLO, TXT } from '../payload.ts';
import { rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { lookUp } from './web.ts';

/** A program looks up several names; wrong search suffixes give answers of no such name. */
export function lookUpBurst(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const names = Math.min(60, Math.floor(random.pareto(2, 1)));
  const suffixes = random.chance(0.2) ? random.integer(1, 3) : 0;
  const samePort = random.chance(0.15) ? takePort(host) : undefined;
  const types = random.pick([[A], [A, AAAA], [PTR], [A, AAAA, 65], [15, TXT], [33, A], [TXT], [6, 2]]);
  let now = timeMs;
  for (let i = 0; i < names; i++) {
    const name = hostName(random);
    for (let s = 0; s <= suffixes; s++) {
      for (const type of types) {
        askDns(lab, {
          client: host,
          resolver: site.resolver,
          name: s < suffixes ? `${name}.corp.test` : name,
          type,
          timeMs: now,
          rttMs: rttTo(lab, site, random.chance(0.6)),
          answer: s < suffixes || random.chance(0.08) ? 3 : random.chance(0.02) ? -1 : 0,
          answerBytes: Math.floor(random.logNormal(4.2, 0.9)),
          ...(samePort === undefined ? {} : { clientPort: samePort }),
        });
        now += random.uniform(0, 2);
      }
      now += random.exponential(15);
    }
    now += random.chance(0.3) ? random.exponential(2000) : random.exponential(60);
  }
}

/** Reputation lookups and telemetry: long machine-made names, as security software and trackers send them. */
export function machineNames(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const count = Math.min(80, Math.floor(random.pareto(2, 0.9)));
  const length = random.integer(16, 120);
  const gap = random.logNormal(5.5, 1.5);
  let now = timeMs;
  for (let i = 0; i < count; i++) {
    askDns(lab, {
      client: host,
      resolver: site.resolver,
      name: encodedName(random, length + random.integer(-4, 4), 'rep.example.org'),
      type: random.pick([A, A, TXT]),
      timeMs: now,
      rttMs: rttTo(lab, site, false),
      answer: random.chance(0.3) ? 3 : 0,
      answerBytes: random.integer(16, 90),
    });
    now += random.exponential(gap);
  }
}

/** Nobody answers: the same question again and again, by one port or several, then another server. */
export function deadResolver(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const dead = random.chance(0.5) ? site.neighbour(251) : site.internetHost();
  const questions = random.integer(1, 12);
  let now = timeMs;
  for (let i = 0; i < questions; i++) {
    const port = takePort(host);
    const query = dnsMessage({ id: random.uint32() & 0xffff, name: hostName(random), type: A, answer: -1 });
    for (let retry = 0; retry < 3; retry++) {
      const clientPort = random.chance(0.5) ? port : takePort(host);
      udp(lab, { client: host, server: dead, port: 53, clientPort }).send(
        now + retry * 2000,
        query.length,
        query,
      );
    }
    now += random.exponential(2500);
    if (random.chance(0.5)) lookUp(lab, site, host, now);
  }
}

/** A resolver works its way down from the root: many servers, one port, answers of every size, some lost. */
export function recursion(lab: Lab, site: Site, timeMs: Milliseconds): void {
  const { random } = lab;
  const resolver = site.neighbour(253);
  const questions = Math.min(100, Math.floor(random.pareto(4, 0.9)));
  let now = timeMs;
  for (let i = 0; i < questions; i++) {
    const answer = random.chance(0.08) ? -1 : random.chance(0.1) ? 3 : 0;
    askDns(lab, {
      client: resolver,
      resolver: site.internetHost(random.chance(0.5)),
      name: hostName(random),
      type: random.pick([A, AAAA, 2, 43, 48]),
      timeMs: now,
      rttMs: rttTo(lab, site, false),
      answer,
      answerBytes: Math.floor(random.logNormal(5.2, 0.9)),
    });
    now += random.exponential(40);
  }
}

/** Names asked over TLS or HTTPS: one connection, small requests and answers for minutes; or over plain TCP. */
export function encryptedNames(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const port = random.pick([443, 853, 53]);
  const session = new TcpSession(lab, {
    client: host,
    server: random.chance(0.7) ? site.internetHost() : site.resolver,
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, false),
  });
  session.open();
  if (port !== 53)
    session
      .send(random.integer(250, 600), TLS_HELLO)
      .reply(random.integer(2500, 5000), TLS_ANSWER)
      .send(100, TLS_DATA);
  const questions = port === 53 ? 1 : random.integer(1, 80);
  for (let i = 0; i < questions; i++) {
    session
      .send(random.integer(40, 260), TLS_DATA)
      .reply(random.integer(100, 900), TLS_DATA)
      .wait(random.exponential(900));
  }
  session.finish(random.chance(0.5) ? 'client' : 'server');
}
