import type { Milliseconds } from '../../base/index.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { RDP_CONNECT, SSH_BANNER, TELNET_OPTIONS } from '../payload.ts';
import { otherHost, rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

/** Sizes of an SSH login: they follow from the two programs and stay the same from connection to connection. */
export interface SshStyle {
  readonly clientBanner: number;
  readonly serverBanner: number;
  readonly clientOffer: number;
  readonly serverOffer: number;
  /** Key exchange of either side. */
  readonly clientKey: number;
  readonly serverKey: number;
  readonly attempt: number;
  readonly refusal: number;
  readonly refusalMs: Milliseconds;
}

export function sshStyle(lab: Lab): SshStyle {
  const { random } = lab;
  return {
    clientBanner: random.integer(14, 42),
    serverBanner: random.integer(18, 44),
    clientOffer: random.integer(250, 1700),
    serverOffer: random.integer(350, 1300),
    clientKey: random.chance(0.6) ? random.integer(40, 150) : random.integer(150, 1300),
    serverKey: random.chance(0.6) ? random.integer(280, 800) : random.integer(500, 1800),
    attempt: random.integer(48, 160),
    refusal: random.integer(36, 100),
    refusalMs: random.logNormal(5.8, 1.4),
  };
}

/** Where a service listens whose owner hopes that nobody will look. */
export function hiddenPort(lab: Lab): number {
  const { random } = lab;
  return random.pick([
    222,
    2200,
    8022,
    10_022,
    random.integer(200, 1023),
    random.integer(1024, 49_151),
    random.integer(49_152, 65_000),
  ]);
}

/** Banner, key exchange and one authentication; `tries` passwords are refused first. */
export function sshLogin(
  lab: Lab,
  session: TcpSession,
  tries: number,
  thinkMs: Milliseconds,
  style = sshStyle(lab),
): void {
  const { random } = lab;
  sshHello(session, style);
  for (let i = 0; i < tries; i++) sshRefusal(lab, session, thinkMs, style);
  session
    .wait(thinkMs * random.uniform(0.3, 1.2))
    .send(random.integer(84, 700))
    .wait(random.uniform(5, 60))
    .reply(random.integer(28, 60));
}

/** Banners, key exchange, new keys, request for the service, and the list of ways to log in. */
export function sshHello(session: TcpSession, style: SshStyle): void {
  session.open().send(style.clientBanner, SSH_BANNER).reply(style.serverBanner, SSH_BANNER);
  session.send(style.clientOffer).reply(style.serverOffer).send(style.clientKey).reply(style.serverKey);
  session.send(16).send(44).reply(44).send(68).reply(style.refusal);
}

/** One password, refused. */
export function sshRefusal(lab: Lab, session: TcpSession, thinkMs: Milliseconds, style: SshStyle): void {
  const { random } = lab;
  session.wait(thinkMs * random.uniform(0.6, 1.6)).send(style.attempt);
  session.wait(style.refusalMs * random.uniform(0.7, 1.3)).reply(style.refusal);
}

/** A person at a shell: keystrokes, echoes, outputs, pauses. */
export function sshShell(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.6);
  const server = local ? otherHost(lab, site, host) : site.internetHost();
  const session = new TcpSession(lab, {
    client: host,
    server,
    port: random.chance(0.85) ? 22 : random.chance(0.3) ? 2222 : hiddenPort(lab),
    startMs: timeMs,
    rttMs: rttTo(lab, site, local),
    loss: site.loss,
  });
  const wrong = random.chance(0.15) ? random.integer(1, 3) : 0;
  sshLogin(lab, session, wrong, random.chance(0.5) ? 2500 : 30);
  const commands = Math.floor(random.pareto(2, 0.9));
  for (let i = 0; i < Math.min(commands, 40); i++) {
    for (let k = random.integer(2, 15); k > 0; k--) session.wait(random.logNormal(5, 0.5)).send(36).reply(36);
    session
      .send(36)
      .wait(random.exponential(80))
      .reply(Math.min(60_000, Math.floor(random.pareto(60, 0.8))));
    session.wait(random.logNormal(8, 1.2));
  }
  if (random.chance(0.8)) session.finish();
}

/** A person who has forgotten the password: some connections, some tries each, with human pauses. */
export function forgottenPassword(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const server = random.chance(0.5) ? otherHost(lab, site, host) : site.internetHost();
  const rttMs = rttTo(lab, site, random.chance(0.5));
  const style = { ...sshStyle(lab), refusalMs: random.uniform(500, 2500) };
  let now = timeMs;
  for (let i = random.integer(1, 4); i > 0; i--) {
    const session = new TcpSession(lab, { client: host, server, port: 22, startMs: now, rttMs });
    sshLogin(lab, session, random.integer(1, 3), random.uniform(1500, 6000), style);
    if (i === 1) session.wait(500).send(200).reply(500).wait(random.exponential(20_000)).finish();
    else session.finish(random.chance(0.5) ? 'server' : 'client');
    now = session.now + random.uniform(800, 15_000);
  }
}

/** Configuration management: short logins to several hosts, one after another or in parallel, again and again. */
export function sshAutomation(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const targets = site.hosts.filter((other) => other !== host).slice(0, random.integer(1, 20));
  if (targets.length === 0) targets.push(site.internetHost());
  const tasks = random.integer(1, 6);
  const parallel = random.integer(1, 5);
  const style = sshStyle(lab);
  const port = random.chance(0.85) ? 22 : hiddenPort(lab);
  let now = timeMs;
  for (let task = 0; task < tasks; task++) {
    targets.forEach((server, i) => {
      const startMs = now + Math.floor(i / parallel) * random.uniform(300, 1500) + random.exponential(30);
      const session = new TcpSession(lab, {
        client: host,
        server,
        port,
        startMs,
        rttMs: rttTo(lab, site, true),
      });
      if (random.chance(0.04)) {
        session.unanswered(random.integer(1, 3));
        return;
      }
      sshLogin(lab, session, 0, 5, style);
      session.send(random.integer(60, 300)).reply(random.integer(40, 900)).wait(random.logNormal(6, 1));
      session
        .send(random.integer(300, 30_000))
        .reply(random.integer(100, 4000))
        .wait(random.logNormal(5, 1))
        .finish();
    });
    now += random.uniform(2000, 30_000);
  }
}

/** Remote desktop, VNC or telnet: small input, large pictures or lines of text. */
export function remoteDesktop(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const port = random.pick([3389, 3389, 5900, 5938, 23, 7070, 4899]);
  const local = random.chance(0.6);
  const server = local ? otherHost(lab, site, host) : site.internetHost();
  const session = new TcpSession(lab, {
    client: host,
    server,
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, local),
    loss: site.loss,
    rate: site.rate,
  });
  session
    .open()
    .send(random.integer(19, 60), port === 23 ? TELNET_OPTIONS : RDP_CONNECT)
    .reply(random.integer(12, 40));
  for (let i = random.integer(3, 8); i > 0; i--)
    session.send(random.integer(30, 700)).reply(random.integer(40, 1800));
  for (let i = Math.min(400, Math.floor(random.pareto(15, 0.8))); i > 0; i--) {
    session.wait(random.exponential(400)).send(random.integer(1, 120));
    if (random.chance(0.6))
      session.reply(
        port === 23 ? random.integer(1, 200) : Math.min(80_000, Math.floor(random.pareto(100, 0.8))),
      );
  }
  if (random.chance(0.7)) session.finish(random.chance(0.7) ? 'client' : 'server');
  else session.reset();
}
