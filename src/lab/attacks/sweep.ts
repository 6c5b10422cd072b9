import type { Milliseconds } from '../../base/index.ts';
import { Icmp } from '../datagrams.ts';
import type { Lab } from '../lab.ts';
import { rttTo } from '../site.ts';
import { posture, probePort } from './scan.ts';
import { crafted, type Stage } from './stage.ts';

/** One question to many addresses: an echo request, or a SYN or datagram to one port or a few. */
export function hostSweep(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const style = random.pick(['echo', 'echo', 'syn', 'syn', 'connect', 'udp'] as const);
  const attacker = style === 'echo' || style === 'connect' ? stage.attacker : crafted(stage.attacker, random);
  const outward = random.chance(0.35);
  const first = random.integer(0, 255);
  const shuffled = random.shuffle(Array.from({ length: size }, (_, i) => i));
  const inOrder = random.chance(0.6);
  const ports = random.chance(0.8)
    ? [random.pick([22, 23, 80, 443, 445, 3389, 5900, 8080, 1433, 3306, 2323, 5555, 6379, 53, 161, 1900])]
    : [80, 443];
  const alive = random.uniform(0.02, 0.9);
  const gap = Math.min(random.logNormal(2.3, 1.8), 700);
  const repeated = random.chance(0.4) ? 2 : 1;
  const door = posture(random);
  const bytes = random.pick([0, 0, 8, 32, 56, 120]);
  let now = startMs;
  for (let i = 0; i < size; i++) {
    const index = inOrder ? i : (shuffled[i] as number);
    const timeMs = now;
    lab.at(timeMs, () => {
      const server = outward
        ? lab.internetHost(false)
        : stage.site.neighbour((first + index) % Math.max(256, size));
      if (server === attacker) return;
      const rttMs = rttTo(lab, stage.site, !outward);
      const answers = random.chance(alive);
      if (style === 'echo') {
        const echo = new Icmp(lab, { client: attacker, server, label: 'host-sweep' });
        echo.echo(timeMs, bytes);
        if (answers) echo.echoReply(timeMs + rttMs, bytes);
        else if (repeated === 2) echo.echo(timeMs + random.uniform(100, 1200), bytes, 2);
        return;
      }
      for (const port of ports) {
        probePort(lab, {
          attacker,
          server,
          port,
          timeMs: timeMs + random.exponential(1),
          rttMs,
          label: 'host-sweep',
          posture: answers ? { ...door, open: Math.max(door.open, 0.2) } : { open: 0, closed: 'silent' },
          style,
        });
      }
    });
    now += random.exponential(gap);
  }
}
