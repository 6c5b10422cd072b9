import type { Milliseconds } from '../../base/index.ts';
import { hiddenPort, type SshStyle, sshHello, sshRefusal, sshStyle } from '../benign/remote.ts';
import type { Lab } from '../lab.ts';
import {
  FTP_BANNER,
  FTP_USER,
  HTTP_DENIED,
  HTTP_POST,
  RDP_CONNECT,
  SMTP_BANNER,
  SSH_BANNER,
  TELNET_OPTIONS,
  TLS_ANSWER,
  TLS_DATA,
  TLS_HELLO,
} from '../payload.ts';
import { rttTo } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { type Stage, victim } from './stage.ts';

type Service = 'ssh' | 'ftp' | 'rdp' | 'http' | 'telnet' | 'mail' | 'smb';

/** Connection after connection with a few passwords each: fast and in parallel, or a few a minute. */
export function guessPasswords(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const service = random.pick<Service>([
    'ssh',
    'ssh',
    'ssh',
    'ssh',
    'ssh',
    'ftp',
    'rdp',
    'http',
    'telnet',
    'mail',
    'smb',
  ]);
  const server = victim(lab, stage);
  const port = random.chance(0.25) ? hiddenPort(lab) : portOf(lab, service);
  const parallel = random.pick([1, 1, 2, 4, 4, 8, 10, 16, 16, 32, 64]);
  const pause = random.chance(0.7) ? random.logNormal(3.5, 2) : random.uniform(1500, 9000);
  const tries = random.pick([1, 1, 2, 3, 3, 6]);
  const rttMs = rttTo(lab, stage.site, random.chance(0.5));
  // Login modules hold a refusal back for two seconds or so; small servers and traps answer at once.
  const speed = random.next();
  const checkMs =
    speed < 0.4
      ? random.uniform(1400, 3300)
      : speed < 0.65
        ? random.uniform(3, 100)
        : random.logNormal(5.8, 1);
  const dropped = random.chance(0.3) ? random.uniform(0.05, 0.3) : 0.01;
  const plan: Guess = {
    service,
    port,
    tries,
    checkMs,
    dropped,
    ssh: { ...sshStyle(lab), refusalMs: checkMs },
    question: random.integer(8, 700),
    ending: random.pick(['client', 'server', 'client-reset', 'server-reset', 'abrupt', 'mixed'] as const),
    answer: random.chance(0.7) ? random.integer(12, 600) : random.integer(300, 4000),
  };
  let left = size;
  const worker = (at: Milliseconds): void => {
    if (left-- <= 0) return;
    const session = new TcpSession(lab, {
      client: stage.attacker,
      server,
      port,
      startMs: at,
      rttMs,
      label: 'password-guessing',
      loss: stage.site.loss,
    });
    guess(lab, session, plan);
    lab.at(session.now + random.exponential(pause), worker);
  };
  for (let i = 0; i < parallel; i++) lab.at(startMs + i * random.uniform(0, 200), worker);
}

function portOf(lab: Lab, service: Service): number {
  const { random } = lab;
  if (service === 'ssh') return random.chance(0.9) ? 22 : 2222;
  if (service === 'http') return random.pick([80, 443, 8080]);
  if (service === 'mail') return random.pick([110, 143, 25, 587]);
  return { ftp: 21, rdp: 3389, telnet: 23, smb: 445 }[service];
}

interface Guess {
  readonly service: Service;
  readonly port: number;
  readonly tries: number;
  /** How long the server takes over a password. */
  readonly checkMs: Milliseconds;
  /** Share of connections that the server drops at once. */
  readonly dropped: number;
  readonly ssh: SshStyle;
  /** Bytes of a request and of its refusal; passwords differ by a few. */
  readonly question: number;
  readonly answer: number;
  /** Who ends a connection and how; a tool and a server do it the same way each time. */
  readonly ending: 'client' | 'server' | 'client-reset' | 'server-reset' | 'abrupt' | 'mixed';
}

function guess(lab: Lab, session: TcpSession, plan: Guess): void {
  const { random } = lab;
  const { service, tries, checkMs } = plan;
  const fate = random.next();
  if (fate < plan.dropped) {
    if (fate < plan.dropped / 3) session.refuse();
    else if (fate < plan.dropped / 2) session.unanswered(1);
    else session.open().wait(50).reset('server');
    return;
  }
  if (service === 'ssh') {
    if (random.chance(0.1)) {
      // A scanner that looks at the banner and key exchange, and leaves.
      session
        .open()
        .reply(random.integer(20, 42), SSH_BANNER)
        .send(24, SSH_BANNER)
        .reply(random.integer(700, 1200))
        .finish();
      return;
    }
    sshHello(session, plan.ssh);
    for (let i = 0; i < tries; i++) sshRefusal(lab, session, checkMs / 20, plan.ssh);
  } else if (service === 'http') {
    session.open();
    if (plan.port === 443)
      session.send(517, TLS_HELLO).reply(random.integer(2000, 4500), TLS_ANSWER).send(90, TLS_DATA);
    for (let i = 0; i < tries; i++)
      session
        .send(150 + plan.question + random.integer(0, 12), HTTP_POST)
        .wait(checkMs * random.uniform(0.7, 1.4))
        .reply(100 + plan.answer, HTTP_DENIED);
  } else if (service === 'rdp' || service === 'smb') {
    session.open().send(random.integer(19, 90), RDP_CONNECT).reply(random.integer(19, 300));
    for (let i = 0; i < Math.min(tries, 2); i++)
      session
        .send(random.integer(200, 900))
        .reply(random.integer(90, 1600))
        .send(random.integer(200, 700))
        .wait(checkMs / 4)
        .reply(random.integer(40, 150));
    if (random.chance(0.4)) {
      session.reset(random.chance(0.5) ? 'client' : 'server');
      return;
    }
  } else {
    const banner = service === 'ftp' ? FTP_BANNER : service === 'telnet' ? TELNET_OPTIONS : SMTP_BANNER;
    session.open().reply(random.integer(12, 120), banner);
    for (let i = 0; i < tries; i++) {
      session
        .send(random.integer(6, 26), FTP_USER)
        .reply(random.integer(10, 50))
        .send(random.integer(6, 26))
        .wait(checkMs * random.uniform(0.7, 1.4))
        .reply(random.integer(18, 60));
    }
  }
  if (plan.ending === 'client-reset') session.reset('client');
  else if (plan.ending === 'server-reset') session.reset('server');
  else if (plan.ending === 'abrupt') session.abort();
  else session.finish(plan.ending === 'mixed' ? random.pick(['client', 'server']) : plan.ending);
}
