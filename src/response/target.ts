import { type IpAddress, parseAddress, parseNetwork } from './address.ts';
import { NetworkSet } from './network-set.ts';

/** A usable target, or why the text can never be one. */
export type Target = { readonly address: IpAddress } | { readonly refused: string };

/**
 * Ranges that name no single remote host. They are refused before any policy is read, so that no
 * configuration and no bad intelligence entry (0.0.0.0, 255.255.255.255) can make a target of them.
 */
const NEVER_TARGETS = new NetworkSet(
  (
    [
      ['0.0.0.0/8', 'unspecified or this network (RFC 1122)'],
      ['255.255.255.255/32', 'limited broadcast'],
      ['::/128', 'unspecified'],
      ['224.0.0.0/4', 'multicast'],
      ['240.0.0.0/4', 'reserved (RFC 1112)'],
      ['ff00::/8', 'multicast'],
      ['127.0.0.0/8', 'loopback'],
      ['::1/128', 'loopback'],
      ['169.254.0.0/16', 'link-local'],
      ['fe80::/10', 'link-local'],
      ['64:ff9b::/96', 'a translator that many hosts share (NAT64)'],
      ['64:ff9b:1::/48', 'a translator that many hosts share (NAT64)'],
      ['2002::/16', 'a relay that many hosts share (6to4)'],
      ['2001::/32', 'a relay that many hosts share (Teredo)'],
    ] as const
  ).map(([network, reason]) => ({ network, reason })),
);

/** Reads a target strictly: one address of one remote host, in canonical text; a network is refused. */
export function parseTarget(text: string): Target {
  const address = parseAddress(text);
  if (address === undefined) {
    return { refused: parseNetwork(text) === undefined ? 'not an IP address' : 'a network, not one address' };
  }
  const never = NEVER_TARGETS.find(address, 0);
  return never === undefined ? { address } : { refused: `${address.text} is ${never.reason}` };
}
