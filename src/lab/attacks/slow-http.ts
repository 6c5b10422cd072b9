import type { Milliseconds } from '../../base/index.ts';
import type { Lab } from '../lab.ts';
import { HTTP_GET, HTTP_POST } from '../payload.ts';
import { rttTo } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { type Stage, victim } from './stage.ts';

/**
 * Many requests that never end: headers or a body a few bytes at a time, or a page read through a tiny window, to
 * keep a web server's places taken. From a dozen connections to hundreds.
 */
export function slowHttp(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const { attacker } = stage;
  const server = victim(lab, stage);
  const port = random.pick([80, 80, 443, 8080]);
  const style = random.pick(['headers', 'body', 'read'] as const);
  const pace = random.uniform(500, 14_000);
  const hold = Math.min(random.uniform(20_000, 240_000), Math.max(10_000, (lab.endMs - startMs) * 0.8));
  const ramp = random.exponential(200);
  const refusedAfter = random.chance(0.3) ? random.integer(Math.ceil(size / 2), size) : size;
  const again = random.chance(0.5);
  const rttMs = rttTo(lab, stage.site, random.chance(0.3));
  const hang = (index: number, at: Milliseconds): void => {
    if (at >= lab.endMs) return;
    const session = new TcpSession(lab, {
      client: attacker,
      server,
      port,
      startMs: at,
      rttMs,
      label: 'slow-http',
    });
    if (index >= refusedAfter && random.chance(0.8)) {
      session.unanswered(random.integer(0, 3));
      return;
    }
    session.open().send(random.integer(60, 340), style === 'body' ? HTTP_POST : HTTP_GET);
    const until = at + hold * random.uniform(0.5, 1.1);
    while (session.now < until) {
      session.wait(pace * random.uniform(0.8, 1.2));
      if (style === 'read') session.reply(random.integer(20, 400)).keepAlive();
      else session.send(random.integer(1, style === 'headers' ? 24 : 64));
    }
    const end = random.next();
    if (end < 0.35) session.reply(random.integer(100, 400)).finish('server');
    else if (end < 0.6) session.reset('server');
    else if (end < 0.8) session.finish();
    else if (end < 0.9) session.reset();
    if (again) lab.at(session.now + random.exponential(500), (now) => hang(index, now));
  };
  for (let i = 0, now = startMs; i < size; i++, now += random.exponential(ramp)) {
    const at = now;
    lab.at(at, () => hang(i, at));
  }
}
