import type { Milliseconds } from '../../base/index.ts';
import { askDns, udp } from '../datagrams.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { hostName } from '../names.ts';
import {
  A,
  AAAA,
  HTTP_GET,
  HTTP_OK,
  HTTP_POST,
  QUIC_INITIAL,
  TLS_ANSWER,
  TLS_DATA,
  TLS_HELLO,
} from '../payload.ts';
import { rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

/** Looks a name up over IPv4 and perhaps IPv6; returns when the answer is there. */
export function lookUp(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): Milliseconds {
  const { random } = lab;
  const name = hostName(random);
  const rttMs = rttTo(lab, site, random.chance(0.7));
  const answer = random.chance(0.03) ? 3 : 0;
  const ask = (type: number, at: Milliseconds, answered: number): Milliseconds =>
    askDns(lab, {
      client: host,
      resolver: site.resolver,
      name,
      type,
      timeMs: at,
      rttMs: rttMs * random.uniform(0.8, 1.6),
      answer: answered,
      answerBytes: Math.floor(random.logNormal(4, 0.8)),
    });
  if (random.chance(0.5)) ask(AAAA, timeMs + random.uniform(0, 1), answer);
  if (random.chance(0.012)) ask(A, timeMs, -1);
  return ask(A, timeMs, answer);
}

/** One page: names, parallel connections to several servers, a few of them failed or slow, some over QUIC. */
export function browsePage(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const origins = Math.min(12, Math.floor(random.pareto(1, 1.1)));
  let now = timeMs;
  for (let i = 0; i < origins; i++) {
    const server = site.internetHost();
    const ready = random.chance(0.75) ? lookUp(lab, site, host, now) : now;
    const parallel = random.chance(0.25) ? random.integer(2, 6) : 1;
    const quic = random.chance(0.25);
    const port = random.chance(0.88) ? 443 : random.chance(0.8) ? 80 : random.pick([8080, 8443, 8000, 3128]);
    for (let k = 0; k < parallel; k++) {
      const start = ready + random.exponential(4);
      if (quic && port === 443) quicVisit(lab, site, host, server, start);
      else webConnection(lab, site, host, server, port, start);
    }
    now += random.exponential(60);
  }
}

/** One HTTP or TLS connection with its requests. */
export function webConnection(
  lab: Lab,
  site: Site,
  host: Host,
  server: Host,
  port: number,
  startMs: Milliseconds,
): void {
  const { random } = lab;
  const tls = port === 443 || port === 8443;
  const session = new TcpSession(lab, {
    client: host,
    server,
    port,
    startMs,
    rttMs: rttTo(lab, site, false),
    loss: site.loss,
    rate: site.rate * random.uniform(0.3, 1.5),
  });
  const fate = random.next();
  if (fate < 0.012) {
    session.unanswered(random.integer(0, 3));
    return;
  }
  if (fate < 0.02) {
    session.refuse(random.integer(0, 2));
    return;
  }
  session.open(random.chance(0.01) ? 1 : 0);
  if (fate < 0.05) {
    // Opened ahead of need and never used.
    session.wait(random.exponential(8000)).finish(random.chance(0.5) ? 'client' : 'server');
    return;
  }
  if (tls) {
    session
      .send(random.integer(220, 1800), TLS_HELLO)
      .reply(random.integer(1200, 5200), TLS_ANSWER)
      .send(random.integer(64, 130), TLS_DATA);
    if (random.chance(0.02)) {
      session.reset(random.chance(0.5) ? 'client' : 'server');
      return;
    }
  }
  const requests = Math.min(40, Math.floor(random.pareto(1, 1.2)));
  for (let i = 0; i < requests; i++) {
    const post = random.chance(0.12);
    session.send(
      post ? Math.min(400_000, Math.floor(random.pareto(500, 0.9))) : random.integer(120, 1400),
      tls ? TLS_DATA : post ? HTTP_POST : HTTP_GET,
    );
    session.wait(random.logNormal(3, 1.2));
    session.reply(Math.min(600_000, Math.floor(random.logNormal(7.6, 1.7))) + 90, tls ? TLS_DATA : HTTP_OK);
    session.wait(random.chance(0.7) ? random.exponential(50) : random.exponential(3000));
  }
  endWeb(lab, session);
}

function endWeb(lab: Lab, session: TcpSession): void {
  const { random } = lab;
  const end = random.next();
  if (end < 0.25) session.finish('client');
  else if (end < 0.45) session.finish('server');
  else if (end < 0.6) session.wait(random.uniform(5000, 75_000)).finish('server');
  else if (end < 0.7) session.wait(random.exponential(4000)).reset(random.chance(0.7) ? 'client' : 'server');
  else if (end < 0.8) session.wait(45_000).keepAlive().wait(45_000).keepAlive().wait(10_000).finish('client');
  // The rest stays open past the end of the capture or of its host's stay.
}

/** HTTP/3: datagrams both ways, the answer much larger. */
export function quicVisit(lab: Lab, site: Site, host: Host, server: Host, startMs: Milliseconds): void {
  const { random } = lab;
  const flow = udp(lab, { client: host, server, port: 443 });
  const rtt = rttTo(lab, site, false);
  flow.send(startMs, 1250, QUIC_INITIAL);
  if (random.chance(0.03)) {
    flow.send(startMs + 300, 1250, QUIC_INITIAL).send(startMs + 900, 1250, QUIC_INITIAL);
    return;
  }
  let now = startMs + rtt;
  flow
    .reply(now, 1250, QUIC_INITIAL)
    .reply(now + 0.1, random.integer(500, 1250))
    .send(now + 1, random.integer(70, 1250));
  const rounds = Math.min(30, Math.floor(random.pareto(1, 1)));
  for (let i = 0; i < rounds; i++) {
    flow.send(now, random.integer(60, 600));
    now += rtt * random.uniform(1, 1.3);
    const packets = Math.min(200, Math.floor(random.pareto(1, 0.8)));
    for (let k = 0; k < packets; k++) {
      flow.reply(now, k === packets - 1 ? random.integer(40, 1250) : 1250);
      if (k % 6 === 5) flow.send(now + 0.2, random.integer(28, 40));
      now += 1250 / site.rate;
    }
    now += random.chance(0.8) ? random.exponential(100) : random.exponential(4000);
  }
}

/** A page kept up to date: long polls, a websocket, or server-sent events on a connection held for minutes. */
export function heldConnection(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = site.internetHost();
  const port = random.pick([443, 443, 443, 80, 5222, 5228, 8883, 1883, 8080]);
  const session = new TcpSession(lab, {
    client: host,
    server,
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, false),
  });
  session.open();
  if (port !== 80 && port !== 1883)
    session.send(517, TLS_HELLO).reply(random.integer(1500, 4500), TLS_ANSWER).send(80, TLS_DATA);
  session
    .send(random.integer(100, 900), port === 80 ? HTTP_GET : TLS_DATA)
    .reply(random.integer(120, 400), TLS_DATA);
  const pace = random.logNormal(9, 0.9);
  const steady = random.chance(0.5);
  const until = Math.min(lab.endMs, timeMs + random.logNormal(11.5, 1));
  while (session.now < until) {
    session.wait(steady ? pace * random.uniform(0.98, 1.02) : random.exponential(pace));
    if (random.chance(0.6))
      session.send(random.integer(2, 120), TLS_DATA).reply(random.integer(2, 300), TLS_DATA);
    else if (random.chance(0.5)) session.reply(random.integer(20, 2000), TLS_DATA);
    else session.keepAlive();
  }
  endWeb(lab, session);
}

/** A phone on a bad line sends a form or a photo drop by drop. */
export function slowUpload(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const session = new TcpSession(lab, {
    client: host,
    server: site.internetHost(),
    port: random.pick([80, 443, 8080]),
    startMs: timeMs,
    rttMs: random.uniform(150, 1500),
    loss: Math.max(site.loss, 0.05),
  });
  session.open(random.chance(0.3) ? 1 : 0).send(random.integer(200, 600), HTTP_POST);
  const pieces = random.integer(5, 60);
  for (let i = 0; i < pieces; i++) session.wait(random.exponential(1200)).send(random.integer(20, 1400));
  session.wait(100).reply(random.integer(150, 900), HTTP_OK);
  endWeb(lab, session);
}

/** Many clients come to one server at once: news, a sale, a page that is linked. */
export function flashCrowd(lab: Lab, site: Site, timeMs: Milliseconds, visits: number): void {
  const { random } = lab;
  const server = site.hosts[0] as Host;
  const port = random.pick([80, 443]);
  const meanGap = random.logNormal(2.6, 1);
  const overload = random.chance(0.4) ? random.uniform(0.02, 0.5) : 0;
  let now = timeMs;
  for (let i = 0; i < visits && now < lab.endMs; i++) {
    const client = site.internetHost(false);
    const at = now;
    lab.at(at, () => {
      if (random.chance(overload)) {
        const session = new TcpSession(lab, {
          client,
          server,
          port,
          startMs: at,
          rttMs: rttTo(lab, site, false),
        });
        if (random.chance(0.7)) session.unanswered(random.integer(0, 4));
        else session.refuse();
        return;
      }
      webConnection(lab, site, client, server, port, at);
    });
    now += random.exponential(meanGap);
  }
}
