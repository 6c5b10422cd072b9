import type { Milliseconds } from '../../base/index.ts';
import type { Lab } from '../lab.ts';
import { rttTo } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { crafted, forgedHost, type Stage, victim } from './stage.ts';

/**
 * SYNs without end to one service, from one source or from forged ones. The victim answers, until its queue is
 * full; the handshake is never completed. A subtle one is no denser than a crowd of clients.
 */
export function synFlood(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const server = victim(lab, stage);
  const port = random.pick([80, 443, 443, 22, 53, 25, 8080, 3389, random.integer(1024, 65000)]);
  const forged = random.chance(0.5);
  const sources = forged
    ? random.chance(0.7)
      ? Number.POSITIVE_INFINITY
      : random.integer(20, 500)
    : random.chance(0.7)
      ? 1
      : random.integer(2, 40);
  const pool = Array.from({ length: Math.min(sources, 500) }, (_, i) =>
    i === 0 && !forged ? crafted(stage.attacker, random) : forgedHost(lab),
  );
  const gap = Math.max(0.02, random.logNormal(0.6, 1.5));
  const answered = random.pick([0, 0.2, 1, 1, random.next()]);
  const rttMs = rttTo(lab, stage.site, random.chance(0.5));
  const synOptions = random.pick([0, 4, 20]);
  const step = 256;
  let now = startMs;
  let left = size;
  const burst = (): void => {
    for (let i = 0; i < step && left > 0; i++, left--) {
      const client = sources === Number.POSITIVE_INFINITY ? forgedHost(lab) : random.pick(pool);
      const session = new TcpSession(lab, {
        client,
        server,
        port,
        startMs: now,
        rttMs,
        label: 'syn-flood',
        synOptions,
        clientPort: random.integer(1024, 65535),
      });
      if (random.chance(answered))
        session.halfOpen(random.chance(0.25) ? random.integer(1, 3) : 0, random.chance(forged ? 0.15 : 0.3));
      else if (random.chance(0.02)) session.refuse();
      else session.unanswered(0);
      now += random.exponential(gap);
    }
    if (left > 0) lab.at(now, burst);
  };
  lab.at(startMs, burst);
}
