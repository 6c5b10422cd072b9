import type { Milliseconds } from '../../base/index.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { FTP_BANNER, FTP_USER, HTTP_GET, HTTP_OK, TLS_ANSWER, TLS_DATA, TLS_HELLO } from '../payload.ts';
import { otherHost, rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { sshLogin } from './remote.ts';

const size = (lab: Lab, mu: number): number => Math.min(3_000_000, Math.floor(lab.random.logNormal(mu, 1.4)));

/** A backup pushes files out in one or several connections: over SSH, HTTPS, SMB, NFS or a protocol of its own. */
export function backup(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.5);
  const server = local
    ? site.hosts[0] === host
      ? otherHost(lab, site, host)
      : (site.hosts[0] as Host)
    : site.internetHost();
  const port = random.pick([22, 443, 443, 445, 873, 2049, 8443, 9000, 10000, 13724]);
  const connections = random.chance(0.6) ? 1 : random.integer(2, 8);
  const rate = (local ? 20_000 : site.rate) * random.uniform(0.2, 1.2);
  let now = timeMs;
  for (let i = 0; i < connections; i++) {
    const session = new TcpSession(lab, {
      client: host,
      server,
      port,
      startMs: now,
      rttMs: rttTo(lab, site, local),
      loss: site.loss,
      rate,
    });
    if (port === 22) sshLogin(lab, session, 0, 5);
    else session.open().send(random.integer(80, 600), TLS_HELLO).reply(random.integer(100, 4500), TLS_ANSWER);
    for (let files = Math.min(30, Math.floor(random.pareto(1, 1))); files > 0; files--) {
      session
        .send(size(lab, 11), TLS_DATA)
        .wait(random.exponential(100))
        .reply(random.integer(20, 300))
        .wait(random.exponential(random.chance(0.9) ? 50 : 5000));
    }
    session.finish(random.chance(0.8) ? 'client' : 'server');
    now = random.chance(0.5) ? session.now + random.exponential(2000) : now + random.exponential(500);
  }
}

/** Photos and documents go to a cloud: small control answers, many parts, sometimes throttled and steady. */
export function cloudSync(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const session = new TcpSession(lab, {
    client: host,
    server: site.internetHost(),
    port: 443,
    startMs: timeMs,
    rttMs: rttTo(lab, site, false),
    loss: site.loss,
    rate: site.rate * 0.5,
  });
  session.open().send(517, TLS_HELLO).reply(random.integer(2000, 4500), TLS_ANSWER).send(90, TLS_DATA);
  const part = size(lab, 9.5);
  for (let i = random.integer(1, 25); i > 0; i--) {
    session
      .send(Math.floor(part * random.uniform(0.5, 1.2)) + 100, TLS_DATA)
      .reply(random.integer(80, 600), TLS_DATA)
      .wait(random.exponential(random.pick([20, 400, 3000])));
    if (random.chance(0.2)) session.send(random.integer(200, 900), TLS_DATA).reply(size(lab, 8), TLS_DATA);
  }
  session.finish(random.chance(0.5) ? 'client' : 'server');
}

/** Software, system updates, large files: few requests, much in return. */
export function download(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const port = random.pick([443, 443, 80, 80, 8080]);
  const session = new TcpSession(lab, {
    client: host,
    server: site.internetHost(),
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, false),
    loss: site.loss,
    rate: site.rate,
  });
  session.open();
  if (port === 443)
    session.send(517, TLS_HELLO).reply(random.integer(2000, 4500), TLS_ANSWER).send(90, TLS_DATA);
  for (let parts = Math.min(20, Math.floor(random.pareto(1, 1))); parts > 0; parts--)
    session
      .send(random.integer(150, 700), HTTP_GET)
      .reply(size(lab, 11.5), HTTP_OK)
      .wait(random.exponential(30));
  session.finish(random.chance(0.5) ? 'client' : 'server');
}

/** Video in chunks: a burst every few seconds on one or two connections. */
export function video(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = site.internetHost();
  for (let k = random.integer(1, 2); k > 0; k--) {
    const session = new TcpSession(lab, {
      client: host,
      server,
      port: 443,
      startMs: timeMs + k * 5,
      rttMs: rttTo(lab, site, false),
      loss: site.loss,
      rate: site.rate * 2,
    });
    session.open().send(517, TLS_HELLO).reply(random.integer(2500, 4800), TLS_ANSWER).send(90, TLS_DATA);
    const chunk = random.logNormal(11.3, 0.8);
    for (let i = random.integer(2, 18); i > 0; i--) {
      session
        .send(random.integer(250, 900), TLS_DATA)
        .reply(Math.min(1_000_000, Math.floor(chunk * random.uniform(0.6, 1.4))), TLS_DATA)
        .wait(random.uniform(1500, 6000));
    }
    if (random.chance(0.6)) session.finish();
  }
}

/** FTP: a control connection with failed or good logins, a data connection for each file. */
export function fileTransfer(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.4);
  const server = local ? otherHost(lab, site, host) : site.internetHost();
  const rttMs = rttTo(lab, site, local);
  const control = new TcpSession(lab, { client: host, server, port: 21, startMs: timeMs, rttMs });
  control.open().reply(random.integer(20, 300), FTP_BANNER);
  for (let tries = random.chance(0.1) ? random.integer(2, 3) : 1; tries > 0; tries--)
    control
      .send(random.integer(10, 24), FTP_USER)
      .reply(34)
      .send(random.integer(10, 24))
      .wait(random.exponential(500))
      .reply(random.integer(20, 60));
  for (let commands = random.integer(1, 8); commands > 0; commands--) {
    control.send(random.integer(6, 60)).reply(random.integer(20, 90));
    if (random.chance(0.6)) {
      const passive = random.chance(0.7);
      const data = new TcpSession(lab, {
        client: passive ? host : server,
        server: passive ? server : host,
        port: passive ? random.integer(1024, 65000) : random.integer(1024, 5000),
        ...(passive ? {} : { clientPort: 20 }),
        startMs: control.now,
        rttMs,
        rate: site.rate,
      });
      data.open();
      if (random.chance(0.3)) data.send(size(lab, 9.5)).finish();
      else data.reply(size(lab, 9)).finish('server');
      control.now = Math.max(control.now, data.now);
      control.reply(random.integer(20, 60)).wait(random.exponential(2000));
    }
  }
  if (random.chance(0.8)) control.send(6).reply(20).finish('server');
}
