import type { Milliseconds } from '../../base/index.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { IMAP_BANNER, SMTP_BANNER, SMTP_HELLO, TLS_ANSWER, TLS_DATA, TLS_HELLO } from '../payload.ts';
import { rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { lookUp } from './web.ts';

/** A message or several on one SMTP connection. A mail server tries the next exchanger where one does not answer. */
export function sendMail(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  let now = random.chance(0.8) ? lookUp(lab, site, host, timeMs) : timeMs;
  for (let tries = 0; tries < 3; tries++) {
    const session = new TcpSession(lab, {
      client: host,
      server: site.internetHost(),
      port: random.pick([25, 25, 587, 465]),
      startMs: now,
      rttMs: rttTo(lab, site, false),
      loss: site.loss,
      rate: site.rate,
    });
    const fate = random.next();
    if (fate < 0.06) {
      session.unanswered(random.integer(1, 3));
      now = session.now + 1000;
      continue;
    }
    if (fate < 0.1) {
      session.refuse();
      now = session.now + 20;
      continue;
    }
    session
      .open()
      .wait(random.exponential(150))
      .reply(random.integer(30, 120), SMTP_BANNER)
      .send(random.integer(12, 40), SMTP_HELLO)
      .reply(random.integer(60, 250));
    if (random.chance(0.7))
      session
        .send(10)
        .reply(30)
        .send(517, TLS_HELLO)
        .reply(random.integer(2000, 4500), TLS_ANSWER)
        .send(random.integer(60, 200), TLS_DATA);
    for (let messages = Math.min(8, Math.floor(random.pareto(1, 1.5))); messages > 0; messages--) {
      for (
        let recipients = Math.floor(random.pareto(1, 1.5)) + 1;
        recipients > 0 && recipients < 30;
        recipients--
      )
        session.send(random.integer(24, 70)).reply(random.integer(8, 60));
      session.send(6).reply(40);
      session
        .send(Math.min(1_500_000, Math.floor(random.logNormal(9, 1.6))))
        .wait(random.exponential(300))
        .reply(random.integer(30, 80));
    }
    session
      .send(6)
      .reply(20)
      .finish(random.chance(0.5) ? 'client' : 'server');
    return;
  }
}

/** IMAP or POP: log in, look, fetch what is new; an IMAP client may idle for long. Wrong passwords happen. */
export function readMail(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const port = random.pick([993, 993, 143, 995, 110]);
  const secure = port === 993 || port === 995;
  const session = new TcpSession(lab, {
    client: host,
    server: site.internetHost(),
    port,
    startMs: timeMs,
    rttMs: rttTo(lab, site, random.chance(0.3)),
    loss: site.loss,
    rate: site.rate,
  });
  session.open();
  if (secure)
    session
      .send(517, TLS_HELLO)
      .reply(random.integer(2500, 4800), TLS_ANSWER)
      .send(random.integer(60, 130), TLS_DATA);
  session.reply(random.integer(40, 140), IMAP_BANNER);
  for (let tries = random.chance(0.04) ? random.integer(2, 4) : 1; tries > 0; tries--)
    session.send(random.integer(12, 90)).wait(random.exponential(120)).reply(random.integer(20, 200));
  for (let commands = random.integer(1, 10); commands > 0; commands--)
    session.send(random.integer(8, 120)).reply(random.integer(30, 1500));
  for (let mails = Math.floor(random.pareto(0.5, 0.9)); mails > 0 && mails < 30; mails--)
    session.send(random.integer(20, 80)).reply(Math.min(400_000, Math.floor(random.logNormal(9, 1.5))));
  if (port === 993 || port === 143) {
    const turns = random.chance(0.4) ? random.integer(1, 8) : 0;
    for (let i = 0; i < turns; i++)
      session.wait(random.uniform(20_000, 60_000)).send(random.integer(8, 50)).reply(random.integer(10, 90));
  }
  session
    .send(10)
    .reply(30)
    .finish(random.chance(0.5) ? 'client' : 'server');
}
