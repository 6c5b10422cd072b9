import type { Milliseconds } from '../../base/index.ts';
import { udp } from '../datagrams.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { SMB_HELLO } from '../payload.ts';
import { otherHost, rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

/** Windows file sharing: negotiation, small requests, files both ways, long idle; 139 tried beside 445. */
export function fileShare(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = otherHost(lab, site, host);
  const port = random.chance(0.8) ? 445 : random.pick([139, 2049, 548, 111]);
  const rttMs = rttTo(lab, site, true);
  if (port === 445 && random.chance(0.3))
    new TcpSession(lab, { client: host, server, port: 139, startMs: timeMs + 1, rttMs }).open().reset();
  const session = new TcpSession(lab, { client: host, server, port, startMs: timeMs, rttMs, rate: 10_000 });
  session.open().send(random.integer(72, 300), SMB_HELLO).reply(random.integer(200, 600), SMB_HELLO);
  for (let tries = random.chance(0.1) ? 3 : 1; tries > 0; tries--)
    session.send(random.integer(150, 600)).reply(random.integer(70, 400));
  for (let i = Math.min(80, Math.floor(random.pareto(5, 0.8))); i > 0; i--) {
    const read = random.chance(0.2);
    const write = !read && random.chance(0.15);
    session.send(write ? Math.min(800_000, Math.floor(random.pareto(2000, 0.7))) : random.integer(90, 400));
    session
      .reply(read ? Math.min(800_000, Math.floor(random.pareto(2000, 0.7))) : random.integer(70, 600))
      .wait(random.exponential(random.chance(0.9) ? 20 : 4000));
  }
  if (random.chance(0.5)) session.finish();
  else if (random.chance(0.3)) session.reset();
}

/** A client of a database, queue or directory: a pool of connections, short questions, answers of all sizes. */
export function database(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = site.hosts[0] === host ? otherHost(lab, site, host) : (site.hosts[0] as Host);
  const port = random.pick([
    3306, 5432, 1433, 1521, 27017, 6379, 5672, 9092, 389, 636, 9200, 11211, 9042, 50000,
  ]);
  const pool = random.chance(0.5) ? 1 : random.integer(2, 20);
  const shortLived = random.chance(0.3);
  const large = random.chance(0.2);
  for (let c = 0; c < pool; c++) {
    let now = timeMs + random.exponential(100);
    for (let life = shortLived ? random.integer(1, 8) : 1; life > 0; life--) {
      const session = new TcpSession(lab, {
        client: host,
        server,
        port,
        startMs: now,
        rttMs: rttTo(lab, site, true),
        rate: 10_000,
      });
      if (random.chance(0.01)) {
        session.refuse();
        now += 1000;
        continue;
      }
      session.open();
      if (random.chance(0.5)) session.reply(random.integer(60, 120));
      session.send(random.integer(40, 350)).reply(random.integer(10, 500));
      if (random.chance(0.03)) {
        session.finish('server');
        now = session.now + 200;
        continue;
      }
      for (
        let i = shortLived ? random.integer(1, 5) : Math.min(60, Math.floor(random.pareto(4, 0.8)));
        i > 0;
        i--
      ) {
        const insert = large && random.chance(0.3);
        session
          .send(insert ? random.integer(2000, 60_000) : random.integer(20, 600))
          .wait(random.logNormal(1, 1.4))
          .reply(Math.min(300_000, Math.floor(random.logNormal(5.5, 1.8)) + 8));
        session.wait(random.exponential(shortLived ? 5 : 900));
      }
      if (shortLived || random.chance(0.5)) session.finish();
      now = session.now + random.exponential(500);
    }
  }
}

/** A job goes to a printer: raw, IPP or LPR, mostly one way. */
export function printJob(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const session = new TcpSession(lab, {
    client: host,
    server: otherHost(lab, site, host),
    port: random.pick([9100, 631, 515]),
    startMs: timeMs,
    rttMs: rttTo(lab, site, true),
    rate: random.logNormal(6, 1),
  });
  session
    .open()
    .send(random.integer(100, 500))
    .reply(random.integer(0, 200))
    .send(Math.min(1_500_000, Math.floor(random.logNormal(11, 1.3))))
    .wait(random.exponential(2000))
    .reply(random.integer(20, 200))
    .finish();
}

/** A log-in at a domain: Kerberos over UDP or TCP, directory questions, a time check. */
export function domainLogin(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = site.hosts[0] === host ? otherHost(lab, site, host) : (site.hosts[0] as Host);
  const rttMs = rttTo(lab, site, true);
  let now = timeMs;
  udp(lab, { client: host, server, port: 389 })
    .send(now, random.integer(150, 220))
    .reply(now + rttMs, random.integer(150, 300));
  for (let i = random.integer(1, 8); i > 0; i--) {
    if (random.chance(0.3))
      udp(lab, { client: host, server, port: 88 })
        .send(now, random.integer(180, 320))
        .reply(now + rttMs, random.integer(120, 1400));
    else
      new TcpSession(lab, { client: host, server, port: 88, startMs: now, rttMs })
        .open()
        .send(random.integer(220, 1700))
        .reply(random.integer(150, 1700))
        .finish();
    now += random.exponential(40);
  }
  const directory = new TcpSession(lab, {
    client: host,
    server,
    port: random.pick([389, 3268, 636, 135]),
    startMs: now,
    rttMs,
  }).open();
  for (let i = random.integer(2, 15); i > 0; i--)
    directory.send(random.integer(60, 2000)).reply(random.integer(50, 3000)).wait(random.exponential(100));
  if (random.chance(0.7)) directory.finish();
}
