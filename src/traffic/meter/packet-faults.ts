import { countName } from '../counters.ts';
import type { SourceCounters } from '../flow.ts';

type Table = 'ignored' | 'malformed';

/** Why a packet is not metered, in the order of the kernel's numbers; the last are those that are only ignored. */
const MALFORMED = [
  'truncated-ethernet-header',
  'truncated-linux-cooked-header',
  'truncated-hdlc-header',
  'too-many-vlan-tags',
  'truncated-vlan-tag',
  'truncated-pppoe-header',
  'truncated-loopback-header',
  'truncated-ppp-header',
  'empty-packet',
  'truncated-ipv4-header',
  'invalid-ip-version',
  'invalid-ipv4-header-length',
  'invalid-ipv4-total-length',
  'truncated-ipv4-packet',
  'truncated-ipv6-header',
  'truncated-ipv6-packet',
  'too-many-ipv6-extension-headers',
  'truncated-ipv6-extension-header',
  'truncated-tcp-header',
  'invalid-tcp-header-length',
  'truncated-udp-header',
  'truncated-icmp-header',
  'fragment-too-short',
  'truncated-mpls-label',
  'too-many-mpls-labels',
] as const;

const IGNORED = [
  'arp',
  'rarp',
  'ppp',
  'pppoe-discovery',
  'eapol',
  'lldp',
  'macsec',
  'ptp',
  'ieee802.3',
  'other-ethertype',
  'other-loopback-family',
  'other-ppp-protocol',
  'mpls',
  'pptp',
] as const;

/** The number of packets whose link type is not read; its name is the reader's to tell. */
const OTHER_LINK = MALFORMED.length + IGNORED.length;

const INSIDE = 64;

/** Words of the kernel's table of reasons: those of packets, then the same inside a tunnel. */
export const FAULTS = 2 * INSIDE;

/** Moves the kernel's counts of reasons into the counters. `linkName` is what packets of no known link type are. */
export function takeFaults(counts: Uint32Array, counters: SourceCounters, linkName: string): void {
  for (let code = 0; code < FAULTS; code++) {
    const count = counts[code]!;
    if (count === 0) continue;
    counts[code] = 0;
    const base = code % INSIDE;
    const table: Table = base < MALFORMED.length ? 'malformed' : 'ignored';
    const name = base === OTHER_LINK ? linkName : (MALFORMED[base] ?? IGNORED[base - MALFORMED.length]);
    countName(counters[table], code < INSIDE ? `${name}` : `inner-${name}`, count);
  }
}
