import type { Milliseconds } from '../../base/index.ts';
import { Icmp, udp } from '../datagrams.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { otherHost, rttTo, type Site } from '../site.ts';
import { TcpSession } from '../tcp-session.ts';

const SERVICES = [
  7, 13, 19, 21, 22, 23, 25, 37, 43, 49, 53, 70, 79, 80, 88, 102, 110, 111, 113, 119, 135, 139, 143, 179, 264,
  389, 443, 445, 465, 502, 512, 513, 514, 515, 543, 548, 554, 587, 623, 636, 646, 853, 873, 989, 990, 993,
  995, 1080, 1099, 1344, 1433, 1521, 1723, 1755, 1883, 1935, 2000, 2049, 2152, 2404, 3128, 3260, 3306, 3389,
  3868, 4786, 4840, 5000, 5060, 5222, 5269, 5432, 5601, 5671, 5672, 5900, 5938, 6000, 6379, 6443, 6660, 6667,
  7001, 8000, 8009, 8080, 8088, 8333, 8443, 8554, 8883, 9000, 9042, 9092, 9100, 9200, 9418, 10050, 11211,
  20000, 25565, 27017, 44818, 47808, 50051,
];

/** Where people log in: no unknown application opens dozens of connections there. */
const LOGINS: ReadonlySet<number> = new Set([
  21, 22, 23, 25, 110, 139, 143, 445, 465, 587, 993, 995, 3389, 5900,
]);

/**
 * An application nobody has told us about: its ports, sizes, tempo, direction and number of connections are drawn
 * anew each time, so that no habit of the better-known ones is taken for the law.
 */
export function unknownApplication(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const servers = Array.from({ length: Math.min(12, Math.floor(random.pareto(1, 1.3))) }, () =>
    random.chance(0.3) ? otherHost(lab, site, host) : site.internetHost(),
  );
  const ports = Array.from({ length: random.chance(0.7) ? 1 : random.integer(2, 4) }, () =>
    random.chance(0.65) ? random.pick(SERVICES) : random.integer(1024, 65535),
  );
  const most = ports.some((port) => LOGINS.has(port)) ? 6 : 40;
  const flows = Math.min(most, Math.floor(random.pareto(1, 0.9)));
  const character: Character = {
    up: random.logNormal(random.chance(0.3) ? 2.3 : 5, 1.4),
    down: random.logNormal(random.chance(0.3) ? 2.6 : 5.8, 1.8),
    spread: random.uniform(0.1, 1.3),
    turns: random.logNormal(1, 1.3),
    pauseMs: random.logNormal(4.5, 2.2),
    serverFirst: random.chance(0.2),
    failing: random.chance(0.12) ? random.uniform(0.1, 1) : 0.02,
    quiet: random.chance(0.1),
    ends: random.next(),
  };
  const byUdp = random.chance(0.35);
  const gap = random.logNormal(6, 2);
  let now = timeMs;
  for (let i = 0; i < flows && now < lab.endMs; i++) {
    const server = random.pick(servers);
    const port = random.pick(ports);
    const at = now;
    lab.at(at, () => {
      if (byUdp) datagrams(lab, site, host, server, port, at, character);
      else connection(lab, site, host, server, port, at, character);
    });
    now += random.chance(0.3) ? random.uniform(0, 3) : random.exponential(gap);
  }
}

interface Character {
  readonly up: number;
  readonly down: number;
  readonly spread: number;
  readonly turns: number;
  readonly pauseMs: Milliseconds;
  readonly serverFirst: boolean;
  /** Share of its attempts that get no answer. */
  readonly failing: number;
  /** The responder never says anything of its own. */
  readonly quiet: boolean;
  readonly ends: number;
}

function connection(
  lab: Lab,
  site: Site,
  host: Host,
  server: Host,
  port: number,
  startMs: Milliseconds,
  c: Character,
): void {
  const { random } = lab;
  const session = new TcpSession(lab, {
    client: host,
    server,
    port,
    startMs,
    rttMs: rttTo(lab, site, random.chance(0.4)),
    loss: site.loss,
    rate: site.rate,
  });
  if (random.chance(c.failing)) {
    if (random.chance(0.5)) session.unanswered(random.integer(0, 4));
    else session.refuse(random.integer(0, 2));
    return;
  }
  session.open();
  if (c.serverFirst) session.reply(draw(lab, c.down / 4, c.spread));
  const turns = Math.min(120, Math.ceil(c.turns * random.logNormal(0, c.spread)));
  for (let i = 0; i < turns; i++) {
    session.send(draw(lab, c.up, c.spread));
    if (!c.quiet) session.wait(random.exponential(5)).reply(draw(lab, c.down, c.spread));
    session.wait(random.exponential(c.pauseMs));
  }
  const end = (c.ends + random.uniform(0, 0.2)) % 1;
  if (end < 0.4) session.finish();
  else if (end < 0.65) session.finish('server');
  else if (end < 0.75) session.reset();
  else if (end < 0.82) session.reset('server');
}

function datagrams(
  lab: Lab,
  site: Site,
  host: Host,
  server: Host,
  port: number,
  startMs: Milliseconds,
  c: Character,
): void {
  const { random } = lab;
  const flow = udp(lab, { client: host, server, port, ...(c.ends < 0.2 ? { clientPort: port } : {}) });
  const rtt = rttTo(lab, site, random.chance(0.4));
  const silent = c.quiet || random.chance(c.failing);
  const turns = Math.min(200, Math.ceil(c.turns * random.logNormal(0, c.spread)));
  let now = startMs;
  for (let i = 0; i < turns && now < lab.endMs; i++) {
    flow.send(now, Math.min(1400, draw(lab, c.up, c.spread)));
    if (!silent) flow.reply(now + rtt, Math.min(1400, draw(lab, c.down, c.spread)));
    now += random.exponential(c.pauseMs);
  }
  if (silent && random.chance(0.2))
    new Icmp(lab, { client: server, server: host }).unreachable(
      startMs + rtt,
      random.pick([3, 3, 1, 10, 13]),
    );
}

function draw(lab: Lab, typical: number, spread: number): number {
  return Math.max(1, Math.min(500_000, Math.floor(typical * lab.random.logNormal(0, spread))));
}

/**
 * Short questions over datagrams, to one server or several, on any port: resolvers of other kinds, game lobbies,
 * devices, file servers, licences. Each side says little; some never answer, some ask again.
 */
export function shortQuestions(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const local = random.chance(0.4);
  const servers = Array.from(
    { length: random.chance(0.5) ? 1 : Math.min(60, Math.floor(random.pareto(2, 0.8))) },
    () => (local ? otherHost(lab, site, host) : site.internetHost(random.chance(0.5))),
  );
  const port = random.chance(0.6) ? random.pick(SERVICES) : random.integer(1024, 65535);
  const up = random.chance(0.5) ? random.integer(0, 40) : random.integer(1, 1300);
  const down = random.chance(0.5) ? random.integer(1, 60) : random.integer(1, 1300);
  const fixed = random.chance(0.6);
  const samePort = random.chance(0.4) ? random.integer(1024, 65535) : undefined;
  const silent = random.chance(0.5) ? 0.02 : random.uniform(0.1, 1);
  const pace = random.logNormal(7, 2);
  const rounds = random.chance(0.7) ? 1 : random.integer(2, 4);
  const rttMs = rttTo(lab, site, local);
  let left = Math.min(80, Math.floor(random.pareto(1, 0.8)));
  lab.every(timeMs, lab.endMs, (now) => {
    const server = random.pick(servers);
    const flow = udp(lab, {
      client: host,
      server,
      port,
      ...(samePort === undefined ? {} : { clientPort: samePort }),
    });
    const size = (bytes: number): number => (fixed ? bytes : Math.floor(bytes * random.uniform(0.4, 1.1)));
    flow.send(now, size(up));
    if (!random.chance(silent)) {
      flow.reply(now + rttMs * random.uniform(0.8, 1.4), size(down));
      for (let k = 1, at = now + rttMs * 2; k < rounds; k++, at += rttMs * 2)
        flow.send(at, size(up)).reply(at + rttMs, size(down));
    } else if (random.chance(0.3)) flow.send(now + random.uniform(500, 3000), size(up));
    return --left > 0
      ? random.chance(0.5)
        ? pace * random.uniform(0.97, 1.03)
        : random.exponential(pace)
      : undefined;
  });
}

/** A message out of the blue, one packet, either way. */
export function strayPacket(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const other = random.chance(0.4) ? otherHost(lab, site, host) : site.internetHost();
  const [client, server] = random.chance(0.6) ? [host, other] : [other, host];
  if (random.chance(0.2)) {
    // What is left of a connection whose beginning the capture missed: a keep-alive, an acknowledgement, a last FIN.
    new TcpSession(lab, {
      client,
      server,
      port: random.pick(SERVICES),
      startMs: timeMs,
      rttMs: 20,
    }).remainder();
  } else if (random.chance(0.3))
    new Icmp(lab, { client, server }).unreachable(
      timeMs,
      random.pick([0, 1, 3, 3, 4, 10, 13]),
      random.integer(28, 520),
    );
  else
    udp(lab, {
      client,
      server,
      port: random.chance(0.5) ? random.pick(SERVICES) : random.integer(1, 65535),
    }).send(timeMs, random.integer(0, 1400));
}
