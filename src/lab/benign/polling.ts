import type { Milliseconds } from '../../base/index.ts';
import { Icmp, udp } from '../datagrams.ts';
import { type Host, takePort } from '../host.ts';
import type { Lab } from '../lab.ts';
import {
  HTTP_GET,
  HTTP_OK,
  NTP_ANSWER,
  NTP_QUERY,
  SNMP_GET,
  TLS_ANSWER,
  TLS_DATA,
  TLS_HELLO,
} from '../payload.ts';
import { anyHost, otherHost, rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

/** Asks a time server now and then; some ask several servers at once, some get no answer. */
export function timeSync(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const servers = Array.from({ length: random.integer(1, 5) }, () => site.internetHost());
  const pace = random.pick([8000, 16_000, 32_000, 64_000, 128_000]);
  const clientPort = random.chance(0.5) ? 123 : undefined;
  const bytes = random.chance(0.9) ? 48 : 68;
  const answered = servers.map(() => random.chance(0.93));
  lab.every(timeMs, lab.endMs, (now) => {
    servers.forEach((server, i) => {
      const flow = udp(lab, { client: host, server, port: 123, clientPort: clientPort ?? takePort(host) });
      const at = now + i * random.uniform(0, 20);
      flow.send(at, bytes, NTP_QUERY);
      if (answered[i]) flow.reply(at + rttTo(lab, site, false), bytes, NTP_ANSWER);
    });
    return random.chance(0.02) ? undefined : pace * random.uniform(0.97, 1.03);
  });
}

/** One look of a monitor at one service. */
export type Check = (at: Milliseconds, server: Host) => void;

/** A way to look: open and close, fetch a page, TLS, ping, SNMP. The sizes stay the same from look to look. */
export function makeCheck(lab: Lab, site: Site, host: Host, local: boolean): Check {
  const { random } = lab;
  const kind = random.integer(0, 4);
  // Whoever asks something asks a service that answers; that a door opens can be tried anywhere.
  const port = random.pick(
    kind === 2
      ? [80, 443, 8080, 22, 22, 3306, 5432, 6379, 25, 53, 10050, 21, 23, 143, 3389, 445, 389]
      : [80, 443, 8080, 9100, 9090, 10050, 8443, 3000, 9200, 5000],
  );
  const banner = random.chance(0.4) ? random.integer(20, 90) : 0;
  const question = random.integer(60, 700);
  const answer = Math.floor(random.logNormal(6.5, 1.5)) + 20;
  const tls = random.chance(0.4);
  return (at, server) => {
    const rttMs = rttTo(lab, site, local);
    if (kind === 0) {
      const bytes = random.pick([32, 56, 56]);
      const ping = new Icmp(lab, { client: host, server });
      ping.echo(at, bytes);
      if (random.chance(0.97)) ping.echoReply(at + rttMs, bytes);
      return;
    }
    if (kind === 1) {
      udp(lab, { client: host, server, port: 161 })
        .send(at, question % 200, SNMP_GET)
        .reply(at + rttMs, (answer % 1200) + 40, SNMP_GET);
      return;
    }
    const session = new TcpSession(lab, { client: host, server, port, startMs: at, rttMs });
    const fate = random.next();
    if (fate < 0.01) session.unanswered(random.integer(0, 2));
    else if (fate < 0.015) session.refuse();
    else if (kind === 2) {
      session.open();
      if (banner > 0) session.reply(banner);
      if (random.chance(0.3)) session.reset();
      else session.finish();
    } else {
      session.open();
      if (tls) session.send(320, TLS_HELLO).reply(2900, TLS_ANSWER).send(80, TLS_DATA);
      session
        .send(question, HTTP_GET)
        .wait(random.exponential(15))
        .reply(answer, HTTP_OK)
        .finish(random.chance(0.5) ? 'client' : 'server');
    }
  };
}

/** A monitor looks at one or many services at a regular pace. */
export function monitoring(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.75);
  const count = random.chance(0.4) ? 1 : random.integer(2, Math.max(2, Math.min(30, site.hosts.length)));
  const targets = Array.from({ length: count }, () =>
    local ? otherHost(lab, site, host) : site.internetHost(),
  );
  const checks = Array.from({ length: random.integer(1, 3) }, () => makeCheck(lab, site, host, local));
  const pace = random.pick([500, 1000, 1000, 2000, 3000, 5000, 10_000, 10_000, 15_000, 30_000, 60_000]);
  const jitter = random.chance(0.7) ? random.uniform(0, 0.02) : random.uniform(0.05, 0.3);
  const spread = random.chance(0.5);
  let left = Math.min(
    200,
    Math.floor(random.pareto(8, 0.8)),
    Math.ceil(300 / (targets.length * checks.length)),
  );
  lab.every(timeMs, lab.endMs, (now) => {
    targets.forEach((server, i) => {
      for (const check of checks)
        check(now + (spread ? (i * pace) / (count + 1) : i * random.uniform(0, 3)), server);
    });
    return --left > 0 ? pace * random.uniform(1 - jitter, 1 + jitter) : undefined;
  });
}

/** An application that asks its own service for news at a regular pace, on a new connection each time. */
export function appPolling(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = site.internetHost();
  const port = random.pick([443, 443, 80, 8080]);
  const pace = random.logNormal(9.6, 0.9);
  const jitter = random.uniform(0, 0.4);
  const up = random.integer(150, 1500);
  const down = Math.floor(random.logNormal(6.5, 1.4)) + 60;
  lab.every(timeMs, lab.endMs, (now) => {
    const session = new TcpSession(lab, {
      client: host,
      server,
      port,
      startMs: now,
      rttMs: rttTo(lab, site, false),
      loss: site.loss,
    });
    session.open();
    if (port === 443)
      session
        .send(517, TLS_HELLO)
        .reply(random.chance(0.5) ? 240 : 3600, TLS_ANSWER)
        .send(90, TLS_DATA);
    for (let k = random.chance(0.7) ? 1 : random.integer(2, 6); k > 0; k--)
      session
        .send(Math.floor(up * random.uniform(0.9, 1.1)), HTTP_GET)
        .wait(random.exponential(40))
        .reply(Math.floor(down * random.logNormal(0, 0.3)), HTTP_OK);
    if (random.chance(0.3)) session.wait(random.uniform(1000, 15_000));
    session.finish(random.chance(0.5) ? 'client' : 'server');
    return random.chance(0.02) ? undefined : pace * random.uniform(1 - jitter, 1 + jitter);
  });
}

/** A service is gone, and its client does not give up: silence or resets, with or without growing pauses. */
export function retries(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = random.chance(0.5) ? site.neighbour(random.integer(2, 250)) : site.internetHost();
  const port = random.pick([
    443,
    80,
    5432,
    3306,
    22,
    8080,
    445,
    25,
    389,
    9200,
    5222,
    random.integer(1024, 65535),
  ]);
  const refused = random.chance(0.5);
  let pace = random.logNormal(7.5, 1.2);
  const growth = random.chance(0.5) ? 1 : random.uniform(1.1, 2);
  let left = Math.floor(random.pareto(2, 0.8));
  lab.every(timeMs, lab.endMs, (now) => {
    const session = new TcpSession(lab, {
      client: host,
      server,
      port,
      startMs: now,
      rttMs: rttTo(lab, site, true),
    });
    if (refused) session.refuse(random.integer(0, 2));
    else session.unanswered(random.integer(0, 4));
    pace = Math.min(60_000, pace * growth);
    return --left > 0 ? pace * random.uniform(0.9, 1.1) : undefined;
  });
}

/** Ping, by a person or a watchdog; sometimes nobody is there. */
export function ping(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.5);
  const server = local
    ? random.chance(0.5)
      ? site.gateway
      : otherHost(lab, site, host)
    : site.internetHost();
  const echo = new Icmp(lab, { client: host, server });
  const answered = random.chance(0.85);
  const bytes = random.pick([56, 56, 32, 8, 64, 1400]);
  const rttMs = rttTo(lab, site, local);
  for (let i = 1, n = Math.min(60, Math.floor(random.pareto(2, 0.9))); i <= n; i++) {
    const at = timeMs + i * random.uniform(998, 1003);
    echo.echo(at, bytes, i);
    if (answered && random.chance(0.98)) echo.echoReply(at + rttMs * random.uniform(0.9, 1.3), bytes, i);
  }
}

/** Records that go one way: syslog, flow export, metrics, traps. */
export function oneWayRecords(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = random.chance(0.8) ? otherHost(lab, site, host) : site.internetHost();
  const flow = udp(lab, {
    client: host,
    server,
    port: random.pick([514, 2055, 8125, 162, 6343, 4739, 12201, 25826]),
  });
  const pace = random.logNormal(7, 1.5);
  let left = Math.floor(random.pareto(1, 0.6));
  lab.every(timeMs, lab.endMs, (now) => {
    flow.send(now, random.integer(40, 1400));
    return --left > 0 && left < 3000 ? random.exponential(pace) : undefined;
  });
}

/** Traces a route: probes with growing reach, answered on the way by routers, by the target at the end. */
export function traceRoute(lab: Lab, site: Site, timeMs: Milliseconds): void {
  const { random } = lab;
  const host = anyHost(lab, site);
  const server = site.internetHost();
  const hops = random.integer(5, 24);
  const byUdp = random.chance(0.6);
  const clientPort = takePort(host);
  let now = timeMs;
  for (let hop = 1; hop <= hops; hop++) {
    const router = site.internetHost();
    for (let k = 0; k < 3; k++) {
      if (byUdp) udp(lab, { client: host, server, port: 33434 + hop * 3 + k, clientPort }).send(now, 32);
      else new Icmp(lab, { client: host, server }).echo(now, 64, hop * 3 + k);
      if (random.chance(0.7)) {
        const from = hop === hops ? server : router;
        const answer = new Icmp(lab, { client: from, server: host });
        if (hop === hops && byUdp) answer.unreachable(now + rttTo(lab, site, false), 3);
        else
          answer.message(now + rttTo(lab, site, false), from.v6 !== undefined && host.onlyV6 ? 3 : 11, 0, 36);
      }
      now += random.chance(0.5) ? 1 : random.uniform(10, 200);
    }
  }
}
