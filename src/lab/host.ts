import { type Address, ipv4, ipv6, type Stack } from './address.ts';
import type { Lens } from './conversation.ts';

/** A machine with one IPv4 and perhaps one IPv6 address. */
export interface Host {
  readonly v4: Address;
  readonly v6: Address | undefined;
  /** How often it prefers IPv6 where both ends have it. */
  v6Share: number;
  onlyV6: boolean;
  nextPort: number;
  portStep: number;
  /** What the capture sees of its traffic; everything when absent. */
  lens: Lens | undefined;
}

/** A host at an IPv4 address, as a number, and perhaps at an IPv6 address, as eight groups. */
export function hostAt(v4: number, v6: readonly number[] | undefined, stack: Stack): Host {
  return {
    v4: ipv4(v4 >>> 0, stack),
    v6: v6 === undefined ? undefined : ipv6(v6, stack),
    v6Share: 0,
    onlyV6: false,
    nextPort: 49152,
    portStep: 1,
    lens: undefined,
  };
}

/** The host's next ephemeral port. */
export function takePort(host: Host): number {
  host.nextPort += host.portStep;
  if (host.nextPort > 65535) host.nextPort = 32768 + (host.nextPort % 997);
  return host.nextPort;
}
