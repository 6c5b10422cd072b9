import type { Milliseconds } from '../base/index.ts';
import { DEVICE, ipv4Number, LINUX, WINDOWS } from './address.ts';
import type { Lens } from './conversation.ts';
import { type Host, hostAt } from './host.ts';
import type { Lab } from './lab.ts';

/** A network of its own: no other site shares its addresses, so every site starts cold. */
export interface Site {
  readonly hosts: readonly Host[];
  readonly gateway: Host;
  readonly resolver: Host;
  readonly broadcast: Host;
  readonly lens: Lens | undefined;
  /** Round trip inside the site, and median round trip to the Internet. */
  readonly localRttMs: Milliseconds;
  readonly internetRttMs: Milliseconds;
  /** Share of segments lost. */
  readonly loss: number;
  /** Bytes a millisecond of the way to the Internet. */
  readonly rate: number;
  /** Another address of this network; most are not taken by a host. */
  neighbour(index: number): Host;
  /** A server on the Internet, as this network's hosts choose them. */
  internetHost(popular?: boolean): Host;
  readonly size: number;
}

const PRIVATE_24 = ipv4Number('192.168.0.0');
const PRIVATE_8 = ipv4Number('10.0.0.0');
const PRIVATE_12 = ipv4Number('172.16.0.0');
const CAMPUS = ipv4Number('203.0.0.0');

export interface SitePlan {
  readonly hosts: number;
  readonly lens?: Lens;
}

/** Lays out a network of the given number of hosts. */
export function makeSite(lab: Lab, { hosts: count, lens }: SitePlan): Site {
  const { random } = lab;
  const number = lab.siteNumber();
  const base = random.pick([
    PRIVATE_24 + (number % 256) * 256 + (number >= 256 ? 0x01000000 : 0),
    PRIVATE_8 + number * 1024,
    PRIVATE_12 + (number % 4096) * 256,
    CAMPUS + (number % 65536) * 256,
  ]);
  const kind = random.next();
  const v6Share = kind < 0.5 ? 0 : kind < 0.9 ? random.next() : 1;
  const onlyV6 = kind > 0.93;
  const prefix = [0x2001, 0xdb8, number >>> 8, number & 255];
  const made = new Map<number, Host>();
  const neighbour = (index: number): Host => {
    let host = made.get(index);
    if (host === undefined) {
      const stack = index === 1 ? DEVICE : random.chance(0.5) ? LINUX : WINDOWS;
      host = hostAt(base + index, v6Share > 0 ? [...prefix, 0, 0, 0, index] : undefined, stack);
      host.v6Share = v6Share;
      host.onlyV6 = onlyV6;
      host.nextPort = stack === LINUX ? random.integer(32768, 60999) : random.integer(49152, 65000);
      host.portStep = random.pick([1, 1, 2, 7, 131]);
      host.lens = lens;
      made.set(index, host);
    }
    return host;
  };
  const first = random.integer(2, Math.max(2, 250 - count));
  const hosts = Array.from({ length: count }, (_, i) => neighbour(first + i));
  const gateway = neighbour(1);
  const internetHost = (popular = true): Host => lab.internetHost(popular, number + 1);
  return {
    hosts,
    gateway,
    resolver: random.chance(0.6) ? gateway : random.chance(0.5) ? neighbour(253) : internetHost(),
    broadcast: neighbour(255),
    lens,
    localRttMs: random.logNormal(-0.7, 0.7),
    internetRttMs: random.logNormal(3.4, 0.7),
    loss: random.chance(0.6) ? random.uniform(0, 0.003) : random.uniform(0, 0.03),
    rate: random.logNormal(7, 1.2),
    neighbour,
    internetHost,
    size: 254,
  };
}

/** A host of the site, any of them. */
export function anyHost(lab: Lab, site: Site): Host {
  return lab.random.pick(site.hosts);
}

/** A host of the site other than `host`, or an unused address where there is no other. */
export function otherHost(lab: Lab, site: Site, host: Host): Host {
  const other = lab.random.pick(site.hosts);
  if (other !== host) return other;
  return site.hosts.length > 1
    ? (site.hosts[(site.hosts.indexOf(host) + 1) % site.hosts.length] as Host)
    : site.neighbour(lab.random.integer(2, 252));
}

/** One round trip of a new connection: local or across the Internet, with its own jitter. */
export function rttTo(lab: Lab, site: Site, local: boolean): Milliseconds {
  return (local ? site.localRttMs : site.internetRttMs) * lab.random.logNormal(0, local ? 0.4 : 0.6) + 0.05;
}
