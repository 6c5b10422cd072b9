import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { parseAddress } from './address.ts';
import { type NetworkEntry, NetworkSet } from './network-set.ts';

/** Own address with its network in CIDR text, as `os.networkInterfaces` gives it. */
export interface OwnAddress {
  readonly address: string;
  readonly cidr: string | null;
}

export interface MachineSources {
  /** Folder that stands for `/`. */
  readonly root?: string;
  readonly own?: readonly OwnAddress[];
  /** Of the process; `SSH_CONNECTION` names the administrator's address. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * What this machine needs to stay reachable: own addresses, broadcast addresses of own networks, gateways,
 * resolvers, and the administrator's end of the ssh connection this process was started from. What is not
 * there (another system, no file) is left out; an address that cannot be read is left out too, since these
 * files belong to the system.
 */
export function readMachineAddresses(sources: MachineSources = {}): NetworkSet {
  const root = sources.root ?? '/';
  const own = sources.own ?? listOwn();
  const found: NetworkEntry[] = [];
  const add = (address: string | undefined, reason: string) => {
    const parsed = address === undefined ? undefined : parseAddress(address);
    if (parsed !== undefined) found.push({ network: parsed.text, reason });
  };
  for (const { address, cidr } of own) {
    add(address.split('%')[0], 'own address');
    add(broadcastOf(cidr), 'broadcast of an own network');
  }
  for (const gateway of readGatewaysV4(root)) add(gateway, 'gateway');
  for (const gateway of readGatewaysV6(root)) add(gateway, 'gateway');
  for (const resolver of readResolvers(root)) add(resolver, 'DNS resolver');
  add((sources.environment ?? process.env).SSH_CONNECTION?.split(' ')[0], 'address of the administrator');
  return new NetworkSet(found);
}

function listOwn(): OwnAddress[] {
  return Object.values(networkInterfaces()).flatMap((list) => list ?? []);
}

/** The all-ones address of an IPv4 network; undefined for IPv6, /31 and /32, which have none. */
function broadcastOf(cidr: string | null): string | undefined {
  const match = cidr === null ? null : /^([\d.]+)\/(\d+)$/.exec(cidr);
  const address = parseAddress(match?.[1] ?? '');
  const prefix = Number(match?.[2]);
  if (address === undefined || address.version !== 4 || !(prefix < 31)) return undefined;
  const value = new DataView(address.bytes.buffer).getUint32(12);
  return dotted((value | (0xffffffff >>> prefix)) >>> 0);
}

/** /proc/net/route: destination and gateway are hexadecimal words in the byte order of the machine (little). */
function readGatewaysV4(root: string): string[] {
  const rows = read(join(root, 'proc/net/route')).split('\n').slice(1);
  return rows.flatMap((row) => {
    const gateway = row.split('\t')[2];
    if (gateway === undefined || !/^[0-9A-F]{8}$/i.test(gateway) || gateway === '00000000') return [];
    return [
      (gateway.match(/../g) as string[])
        .reverse()
        .map((byte) => Number.parseInt(byte, 16))
        .join('.'),
    ];
  });
}

/** /proc/net/ipv6_route: the fifth column is the next hop, 32 hexadecimal digits in network order. */
function readGatewaysV6(root: string): string[] {
  const rows = read(join(root, 'proc/net/ipv6_route')).split('\n');
  return rows.flatMap((row) => {
    const hop = row.split(/\s+/)[4];
    if (hop === undefined || !/^[0-9a-f]{32}$/i.test(hop) || /^0+$/.test(hop)) return [];
    return [(hop.match(/.{4}/g) as string[]).join(':')];
  });
}

function readResolvers(root: string): string[] {
  const rows = read(join(root, 'etc/resolv.conf')).split('\n');
  return rows.flatMap((row) => /^\s*nameserver\s+([^\s%]+)/.exec(row)?.[1] ?? []);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function dotted(value: number): string {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.');
}
