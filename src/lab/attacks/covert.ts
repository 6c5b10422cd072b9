import type { Milliseconds } from '../../base/index.ts';
import { sshLogin } from '../benign/remote.ts';
import { askDns, Icmp, udp } from '../datagrams.ts';
import { type Host, takePort } from '../host.ts';
import type { Lab } from '../lab.ts';
import { encodedName } from '../names.ts';
import { HTTP_GET, HTTP_OK, HTTP_POST, TLS_ANSWER, TLS_DATA, TLS_HELLO, TXT } from '../payload.ts';
import { rttTo } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import type { Stage } from './stage.ts';

/** The machine that has been taken over: always inside. */
function insider(lab: Lab, { attacker, site }: Stage): Host {
  return site.hosts.includes(attacker) ? attacker : lab.random.pick(site.hosts);
}

/** A tunnel in names: long questions, long answers, by the site's resolver or straight to the far end. */
export function dnsTunnel(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const host = insider(lab, stage);
  const straight = random.chance(0.5);
  if (random.chance(0.25)) {
    nameLeak(lab, stage, host, startMs, size, rttTo(lab, stage.site, false));
    return;
  }
  const resolver = straight ? lab.internetHost(false) : stage.site.resolver;
  // A client binds one port for all its questions, or each question has its own.
  const onePort = random.chance(0.5) ? takePort(host) : undefined;
  const type = random.pick([TXT, TXT, 10, 5, 1, 15, 28]);
  const up = random.integer(50, 220);
  const down = random.chance(0.7) ? random.integer(60, 1000) : random.integer(16, 80);
  const gap = Math.min(random.logNormal(4.7, 1.4), 3000);
  const rttMs = rttTo(lab, stage.site, false);
  const zone = random.pick(['t.example.net', 'a.tunnel.test', 'x1.test']);
  let left = size;
  lab.every(startMs, lab.endMs, (now) => {
    const idle = random.chance(0.15);
    askDns(lab, {
      client: host,
      resolver,
      name: encodedName(
        random,
        idle ? random.integer(10, 30) : Math.max(8, up + random.integer(-30, 10)),
        zone,
      ),
      type,
      timeMs: now,
      rttMs: rttMs * random.uniform(0.8, 1.5),
      answer: random.chance(0.02) ? -1 : random.chance(0.1) ? 3 : 0,
      answerBytes: idle ? random.integer(10, 40) : Math.max(10, down + random.integer(-50, 50)),
      label: 'dns-tunnel',
      ...(onePort === undefined ? {} : { clientPort: onePort }),
    });
    // One port is one long flow; a new port now and then, as after a restart or behind address translation.
    return --left > 0
      ? random.chance(0.02)
        ? random.exponential(5000)
        : random.exponential(gap)
      : undefined;
  });
}

/** An implant asks for orders: small, regular with jitter, now and then an answer that is longer. */
export function beaconing(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const host = insider(lab, stage);
  const server = lab.internetHost(false);
  const style = random.pick(['tls', 'tls', 'http', 'raw', 'udp'] as const);
  const port =
    style === 'tls'
      ? random.pick([443, 443, 8443])
      : style === 'http'
        ? random.pick([80, 8080])
        : random.pick([4444, 1337, 6667, 53, 443, 8081, random.integer(1024, 65000)]);
  const pace = random.logNormal(9, 0.6);
  const jitter = random.pick([0, 0.02, 0.1, 0.2, 0.37]);
  const up = random.integer(20, 500);
  const down = random.integer(10, 400);
  const rttMs = rttTo(lab, stage.site, false);
  const dead = random.chance(0.12);
  let left = size;
  lab.every(startMs, lab.endMs, (now) => {
    const busy = random.chance(0.04);
    if (style === 'udp') {
      const flow = udp(lab, { client: host, server, port, label: 'beaconing' });
      flow.send(now, up);
      if (!dead) flow.reply(now + rttMs, down);
    } else {
      const session = new TcpSession(lab, {
        client: host,
        server,
        port,
        startMs: now,
        rttMs: rttMs * random.uniform(0.9, 1.2),
        label: 'beaconing',
      });
      if (dead) {
        if (left % 3 === 0) session.refuse();
        else session.unanswered(random.integer(0, 2));
      } else {
        session.open();
        if (style === 'tls')
          session
            .send(random.integer(180, 520), TLS_HELLO)
            .reply(random.integer(900, 2600), TLS_ANSWER)
            .send(90, TLS_DATA);
        session
          .send(up + random.integer(0, 16), style === 'http' ? HTTP_GET : TLS_DATA)
          .wait(random.exponential(10));
        session.reply(
          busy ? random.integer(2000, 60_000) : down + random.integer(0, 16),
          style === 'http' ? HTTP_OK : TLS_DATA,
        );
        if (busy) session.wait(random.exponential(2000)).send(random.integer(500, 8000));
        session.finish(random.chance(0.5) ? 'client' : 'server');
      }
    }
    return --left > 0 ? pace * random.uniform(1 - jitter, 1 + jitter) : undefined;
  });
}

/** Data leaves: in large pieces or small ones, over HTTPS, SSH, FTP, an odd port or ICMP (over DNS it is a tunnel). */
export function exfiltration(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const host = insider(lab, stage);
  const server = lab.internetHost(false);
  const way = random.pick(['https', 'https', 'ssh', 'odd', 'odd', 'icmp', 'ftp'] as const);
  const rttMs = rttTo(lab, stage.site, false);
  if (way === 'icmp') {
    echoLeak(lab, host, server, startMs, size, rttMs);
    return;
  }
  const port =
    way === 'https'
      ? 443
      : way === 'ssh'
        ? 22
        : way === 'ftp'
          ? 20
          : random.pick([4444, 8081, 9001, 1337, 53, random.integer(1024, 65000)]);
  const piece = random.logNormal(11.6, 0.9);
  const pause = random.chance(0.6) ? random.exponential(2000) : random.uniform(3000, 15_000);
  const rate = stage.site.rate * random.uniform(0.2, 1.2);
  const reuse = random.chance(0.3) ? random.integer(2, 6) : 1;
  let left = size;
  const next = (at: Milliseconds): void => {
    const session = new TcpSession(lab, {
      client: host,
      server,
      port,
      startMs: at,
      rttMs,
      loss: stage.site.loss,
      rate,
      label: 'exfiltration',
    });
    if (way === 'ssh') sshLogin(lab, session, 0, 5);
    else session.open();
    if (way === 'https')
      session
        .send(random.integer(200, 520), TLS_HELLO)
        .reply(random.integer(900, 4500), TLS_ANSWER)
        .send(90, TLS_DATA);
    for (let i = 0; i < reuse; i++) {
      session.send(
        Math.min(1_500_000, Math.floor(piece * random.uniform(0.6, 1.2)) + 3000),
        way === 'https' ? TLS_DATA : HTTP_POST,
      );
      session.wait(random.exponential(60)).reply(random.integer(10, 350));
    }
    session.finish(random.chance(0.7) ? 'client' : 'server');
    if (--left > 0) lab.at(session.now + pause * random.uniform(0.5, 1.5), next);
  };
  lab.at(startMs, next);
}

/** Echo requests that carry a file. */
function echoLeak(
  lab: Lab,
  host: Host,
  server: Host,
  startMs: Milliseconds,
  size: number,
  rttMs: Milliseconds,
): void {
  const { random } = lab;
  const bytes = random.integer(500, 1472);
  const gap = random.logNormal(4, 1);
  const answered = random.chance(0.7);
  // A pause longer than the idle time-out now and then makes several flows of it.
  let now = startMs;
  for (let part = 0; part < size && now < lab.endMs; part++) {
    const echo = new Icmp(lab, { client: host, server, label: 'exfiltration' });
    for (let i = 0, n = random.integer(30, 250); i < n; i++, now += random.exponential(gap)) {
      echo.echo(now, bytes, i);
      if (answered) echo.echoReply(now + rttMs, random.chance(0.5) ? bytes : 0, i);
    }
    now += random.uniform(31_000, 45_000);
  }
}

/** Questions whose names are the file, on and on; the answers do not matter. */
function nameLeak(
  lab: Lab,
  stage: Stage,
  host: Host,
  startMs: Milliseconds,
  size: number,
  rttMs: Milliseconds,
): void {
  const { random } = lab;
  const resolver = random.chance(0.5) ? stage.site.resolver : lab.internetHost(false);
  const gap = Math.min(random.logNormal(3.4, 1), 400);
  let left = size;
  lab.every(startMs, lab.endMs, (now) => {
    askDns(lab, {
      client: host,
      resolver,
      name: encodedName(random, random.integer(180, 220)),
      type: 1,
      timeMs: now,
      rttMs,
      answer: random.chance(0.5) ? 3 : 0,
      answerBytes: 16,
      label: 'dns-tunnel',
    });
    return --left > 0 ? random.exponential(gap) : undefined;
  });
}
