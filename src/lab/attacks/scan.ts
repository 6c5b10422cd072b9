import type { Milliseconds, SeededRandom } from '../../base/index.ts';
import { Icmp, udp } from '../datagrams.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { dnsMessage, SNMP_GET } from '../payload.ts';
import { rttTo } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';
import { crafted, type Stage, victim } from './stage.ts';

const COMMON = [
  80, 443, 22, 21, 25, 23, 53, 110, 135, 139, 143, 445, 993, 995, 1723, 3306, 3389, 5900, 8080, 111, 1025,
  199, 587, 8888, 113, 1720, 554, 256, 8443, 5432, 6379, 27017, 9200, 2049, 161, 389, 636, 873, 1433, 1521,
  5000, 5060, 5985, 6000, 7001, 8000, 8081, 9090, 9100, 11211,
];

/** Distinct ports, the well-known ones first as scanners like them, or a range, in order or shuffled. */
export function portsToScan(random: SeededRandom, count: number): number[] {
  let ports: number[];
  if (random.chance(0.35)) {
    const first = random.integer(1, 65_535 - count);
    ports = Array.from({ length: count }, (_, i) => first + i);
  } else {
    const chosen = new Set<number>(COMMON.slice(0, Math.min(count, COMMON.length)));
    while (chosen.size < count)
      chosen.add(random.chance(0.7) ? random.integer(1, 10_000) : random.integer(1, 65_535));
    ports = [...chosen];
  }
  return random.chance(0.75) ? random.shuffle(ports) : ports;
}

/** How one victim answers a probe of a port. */
export interface Posture {
  /** Share of ports that are open; the rest is silent, refused, or answered by ICMP. */
  readonly open: number;
  readonly closed: 'silent' | 'reset' | 'icmp' | 'mixed';
}

export function posture(random: SeededRandom): Posture {
  return {
    open: random.chance(0.5) ? random.uniform(0, 0.05) : random.uniform(0.02, 0.25),
    closed: random.pick(['silent', 'reset', 'reset', 'mixed', 'icmp']),
  };
}

export interface Probe {
  readonly attacker: Host;
  readonly server: Host;
  readonly port: number;
  readonly timeMs: Milliseconds;
  readonly rttMs: Milliseconds;
  readonly label: string;
  readonly posture: Posture;
  readonly style: 'syn' | 'connect' | 'udp';
  readonly clientPort?: number;
}

/** One knock at one door, and what comes back. */
export function probePort(lab: Lab, probe: Probe): void {
  const { random } = lab;
  const { attacker, server, port, timeMs, rttMs, label, style, clientPort } = probe;
  const isOpen = random.chance(probe.posture.open);
  const { closed } = probe.posture;
  const answer = closed === 'mixed' ? random.pick(['silent', 'reset'] as const) : closed;
  if (style === 'udp') {
    const flow = udp(lab, {
      client: attacker,
      server,
      port,
      label,
      ...(clientPort === undefined ? {} : { clientPort }),
    });
    const payload =
      port === 53
        ? dnsMessage({ id: 1, name: 'version.bind', type: 16, answer: -1 })
        : port === 161
          ? SNMP_GET
          : undefined;
    const bytes = payload?.length ?? (random.chance(0.6) ? 0 : random.integer(1, 64));
    flow.send(timeMs, bytes, payload);
    if (isOpen) flow.reply(timeMs + rttMs, random.integer(20, 400));
    else if (answer === 'silent') {
      if (random.chance(0.5)) flow.send(timeMs + random.uniform(300, 1500), bytes, payload);
    } else if (random.chance(0.3))
      new Icmp(lab, { client: server, server: attacker }).unreachable(timeMs + rttMs, 3);
    return;
  }
  const session = new TcpSession(lab, {
    client: attacker,
    server,
    port,
    startMs: timeMs,
    rttMs,
    label,
    ...(style === 'syn' ? { synOptions: attacker.v4.stack.window === 1024 ? 4 : 20 } : {}),
    ...(clientPort === undefined ? {} : { clientPort }),
  });
  if (isOpen) {
    if (style === 'syn') session.probe();
    else if (random.chance(0.3))
      session.open().wait(random.exponential(300)).reply(random.integer(10, 200)).reset();
    else if (random.chance(0.5)) session.open().reset();
    else session.open().finish();
  } else if (answer === 'reset') session.refuse();
  else {
    session.unanswered(style === 'connect' ? random.integer(0, 2) : random.integer(0, 1));
    if (answer === 'icmp' && random.chance(0.5))
      new Icmp(lab, { client: server, server: attacker }).unreachable(
        timeMs + rttMs,
        random.pick([3, 10, 13]),
      );
  }
}

/** Many ports of one host: SYN, connect or UDP scan, from twenty ports to thousands, from a few a second to a storm. */
export function portScan(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const style = random.pick(['syn', 'syn', 'connect', 'udp'] as const);
  const attacker = style === 'connect' ? stage.attacker : crafted(stage.attacker, random);
  const server = victim(lab, stage);
  const ports = portsToScan(random, size);
  const gap = Math.min(random.logNormal(3.2, 1.6), 900);
  const rttMs = rttTo(lab, stage.site, random.chance(0.5));
  const door = posture(random);
  const clientPort = style !== 'connect' && random.chance(0.6) ? random.integer(32768, 65000) : undefined;
  let now = startMs;
  for (const port of ports) {
    const timeMs = now;
    lab.at(timeMs, () =>
      probePort(lab, {
        attacker,
        server,
        port,
        timeMs,
        rttMs,
        label: 'port-scan',
        posture: door,
        style,
        ...(clientPort === undefined ? {} : { clientPort }),
      }),
    );
    now += random.exponential(gap);
  }
}

/** The patient: one port or host at a time, seconds to tens of seconds apart, over one host, several, or a network. */
export function slowScan(lab: Lab, stage: Stage, startMs: Milliseconds, size: number): void {
  const { random } = lab;
  const style = random.pick(['syn', 'syn', 'connect', 'connect', 'udp'] as const);
  const attacker = style === 'connect' ? stage.attacker : crafted(stage.attacker, random);
  const shape = random.pick(['ports', 'ports', 'hosts', 'both'] as const);
  const hosts = shape === 'ports' ? 1 : shape === 'both' ? random.integer(2, 8) : size;
  const outward = random.chance(0.3);
  const first = random.integer(1, 120);
  const servers = Array.from({ length: hosts }, (_, i) =>
    hosts === 1
      ? victim(lab, stage)
      : outward
        ? lab.internetHost(false)
        : stage.site.neighbour(1 + ((first + i) % 253)),
  );
  const ports = portsToScan(random, shape === 'hosts' ? 1 : size);
  const gap = random.uniform(2000, 20_000);
  const regular = random.chance(0.4);
  const door = posture(random);
  const silentHosts = shape === 'ports' ? 0 : random.uniform(0.1, 0.9);
  let now = startMs;
  for (let i = 0; i < size && now < lab.endMs; i++) {
    const server = servers[i % servers.length] as Host;
    const port = ports[i % ports.length] as number;
    const timeMs = now;
    lab.at(timeMs, () => {
      const absent = random.chance(silentHosts);
      probePort(lab, {
        attacker,
        server,
        port,
        timeMs,
        rttMs: rttTo(lab, stage.site, true),
        label: 'slow-scan',
        posture: absent ? { open: 0, closed: 'silent' } : door,
        style,
      });
    });
    now += regular ? gap * random.uniform(0.95, 1.05) : gap * random.uniform(0.4, 1.6);
  }
}
