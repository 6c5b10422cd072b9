/** How findings name their origin. A test holds the version against package.json. */
export const PRODUCT = { name: 'AI Guardian', vendor: 'AI Guardian', version: '0.1.0' } as const;

export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES[protocol] ?? String(protocol);
}

/** IANA protocol numbers. */
const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  47: 'GRE',
  58: 'IPv6-ICMP',
  132: 'SCTP',
};
