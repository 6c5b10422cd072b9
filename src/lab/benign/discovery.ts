import type { Milliseconds } from '../../base/index.ts';
import { DEVICE, ipv4, ipv4Number, ipv6, LINUX } from '../address.ts';
import { Icmp, rawIp, udp } from '../datagrams.ts';
import { type Host, hostAt } from '../host.ts';
import type { Lab } from '../lab.ts';
import { DHCP_REQUEST, dnsMessage, PTR, SNMP_GET, SSDP_SEARCH } from '../payload.ts';
import { otherHost, rttTo, type Site } from '../site.ts';

/** A multicast group, or all of a network; both versions where there are two. */
function group(v4: string, v6?: readonly number[]): Host {
  const host = hostAt(ipv4Number(v4), undefined, LINUX);
  return v6 === undefined ? host : { ...host, v6: ipv6(v6, LINUX) };
}

const MDNS = group('224.0.0.251', [0xff02, 0, 0, 0, 0, 0, 0, 0xfb]);
const LLMNR = group('224.0.0.252', [0xff02, 0, 0, 0, 0, 0, 1, 3]);
const SSDP = group('239.255.255.250', [0xff02, 0, 0, 0, 0, 0, 0, 0xc]);
const EVERYONE = group('255.255.255.255', [0xff02, 0, 0, 0, 0, 0, 0, 1]);
const ROUTERS = group('224.0.0.2', [0xff02, 0, 0, 0, 0, 0, 0, 2]);
const IGMP_REPORTS = group('224.0.0.22', [0xff02, 0, 0, 0, 0, 0, 0, 0x16]);
const UNSET: Host = {
  ...hostAt(0, undefined, DEVICE),
  v4: { ...ipv4(0, DEVICE), mac: Uint8Array.of(2, 0x1a, 0, 0, 0, 9) },
};

/** Announcements and questions to everybody: mDNS, LLMNR, SSDP, WS-Discovery, NetBIOS and vendors' own. */
export function announce(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const kind = random.integer(0, 6);
  const times = Math.min(40, Math.floor(random.pareto(1, 0.9)));
  const pace = random.pick([100, 250, 1000, 1000, 5000, 30_000]);
  const query = dnsMessage({ id: 0, name: '_services._dns-sd._udp.local', type: PTR, answer: -1 });
  const vendorPort = random.chance(0.5)
    ? random.pick([17500, 6666, 9999, 8612, 10001, 5678, 32412, 21027])
    : random.integer(1024, 65535);
  const vendorBytes = random.integer(4, 400);
  const everyone = random.chance(0.5) ? EVERYONE : site.broadcast;
  const ownPort = random.chance(0.5);
  let now = timeMs;
  for (let i = 0; i < times; i++) {
    const pause = pace * random.uniform(0.8, 1.2);
    if (kind === 0)
      udp(lab, { client: host, server: MDNS, port: 5353, clientPort: 5353 }).send(
        now,
        random.integer(40, 600),
        query,
      );
    else if (kind === 1) {
      const flow = udp(lab, { client: host, server: LLMNR, port: 5355 });
      flow.send(now, 26, query).send(now + 410, 26, query);
    } else if (kind === 2)
      udp(lab, { client: host, server: SSDP, port: 1900 })
        .send(now, random.integer(94, 180), SSDP_SEARCH)
        .send(now + 100, 133, SSDP_SEARCH);
    else if (kind === 3)
      udp(lab, { client: host, server: SSDP, port: 3702 }).send(now, random.integer(500, 1100));
    else if (kind === 4)
      udp(lab, { client: host, server: site.broadcast, port: 137, clientPort: 137 })
        .send(now, 50)
        .send(now + 750, 50);
    else if (kind === 5)
      udp(lab, { client: host, server: site.broadcast, port: 138, clientPort: 138 }).send(
        now,
        random.integer(170, 240),
      );
    else
      udp(lab, {
        client: host,
        server: everyone,
        port: vendorPort,
        ...(ownPort ? { clientPort: vendorPort } : {}),
      }).send(now, vendorBytes);
    // A search is answered by a few devices, straight to whoever asked.
    if (kind === 2 && random.chance(0.4))
      udp(lab, {
        client: otherHost(lab, site, host),
        server: host,
        port: host.nextPort,
        clientPort: 1900,
      }).send(now + random.uniform(5, 900), random.integer(250, 450));
    now += pause;
  }
}

/** A machine comes up: DHCP, neighbour discovery, group memberships. */
export function joinNetwork(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const from = { ...UNSET, lens: host.lens };
  const boot = udp(lab, { client: from, server: EVERYONE, port: 67, clientPort: 68 });
  const tries = random.chance(0.2) ? random.integer(2, 6) : 1;
  for (let i = 0; i < tries; i++) boot.send(timeMs + i * 3000, random.integer(244, 308), DHCP_REQUEST);
  if (random.chance(0.8))
    udp(lab, { client: site.gateway, server: random.chance(0.5) ? EVERYONE : host, port: 68, clientPort: 67 })
      .send(timeMs + 5, 300, DHCP_REQUEST)
      .send(timeMs + 12, 300, DHCP_REQUEST);
  if (random.chance(0.5))
    udp(lab, { client: host, server: site.gateway, port: 67, clientPort: 68 })
      .send(timeMs + 60_000, 300, DHCP_REQUEST)
      .reply(timeMs + 60_004, 300, DHCP_REQUEST);
  rawIp(lab, 2, host, IGMP_REPORTS)
    .send(timeMs + 30, 16)
    .send(timeMs + 900, 16);
  if (host.v6 !== undefined && host.v6Share > 0) {
    new Icmp(lab, { client: { ...host, onlyV6: true }, server: ROUTERS }).message(timeMs + 20, 133, 0, 8);
    new Icmp(lab, { client: { ...site.gateway, onlyV6: true }, server: EVERYONE }).message(
      timeMs + 25,
      134,
      0,
      48,
    );
    for (let i = random.integer(1, 4); i > 0; i--)
      new Icmp(lab, { client: { ...host, onlyV6: true }, server: { ...otherHost(lab, site, host) } }).message(
        timeMs + i * 150,
        random.pick([135, 136]),
        0,
        24,
      );
  }
}

/** Looks for printers and devices by SNMP, one by one or by broadcast. */
export function findDevices(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const clientPort = random.integer(49152, 65000);
  const flow = udp(lab, { client: host, server: site.broadcast, port: 161, clientPort });
  for (let i = 0; i < random.integer(1, 4); i++)
    flow.send(timeMs + i * 1000, random.integer(44, 80), SNMP_GET);
  for (let i = random.integer(1, 4); i > 0; i--) {
    const device = otherHost(lab, site, host);
    udp(lab, { client: host, server: device, port: 161 })
      .send(timeMs + i * 40, 60, SNMP_GET)
      .reply(timeMs + i * 40 + rttTo(lab, site, true), random.integer(60, 180), SNMP_GET);
  }
}

/** Routers and tunnels talk without ports: OSPF, PIM, VRRP, GRE, ESP, SCTP, IGMP queries. */
export function portless(lab: Lab, site: Site, host: Host, timeMs: Milliseconds): void {
  const { random } = lab;
  const protocol = random.pick([2, 4, 41, 47, 47, 50, 50, 89, 103, 112, 132, 132]);
  const toGroup = protocol === 89 || protocol === 103 || protocol === 112 || protocol === 2;
  const server = toGroup
    ? group('224.0.0.18')
    : random.chance(0.5)
      ? site.internetHost()
      : otherHost(lab, site, host);
  const flow = rawIp(lab, protocol, host, server);
  const pace = toGroup ? random.pick([1000, 1000, 10_000, 30_000]) : random.logNormal(4.5, 1.5);
  const packets = Math.min(300, Math.floor(random.pareto(1, 0.6)));
  const twoWay = !toGroup && random.chance(0.7);
  let now = timeMs;
  for (let i = 0; i < packets && now < lab.endMs; i++) {
    flow.send(now, random.integer(20, toGroup ? 64 : 1300));
    if (twoWay && random.chance(0.8)) flow.reply(now + rttTo(lab, site, false), random.integer(20, 1300));
    now += pace * (toGroup ? random.uniform(0.95, 1.05) : random.exponential(1));
  }
}
