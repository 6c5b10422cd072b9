import { isIPv4, isIPv6 } from 'node:net';

/**
 * An IP address in one space: 16 bytes, IPv4 as `::ffff:a.b.c.d`. So an IPv4 address and its IPv4-mapped
 * IPv6 spelling are the same address, and no rule for one can be bypassed by writing the other.
 */
export interface IpAddress {
  readonly version: 4 | 6;
  /** 16 bytes, network order, never changed. */
  readonly bytes: Uint8Array;
  /** Canonical text (RFC 5952); dotted quad for IPv4 and IPv4-mapped. */
  readonly text: string;
}

/** A network in the same space; `prefix` counts bits from the left of the 16 bytes, so IPv4 /24 is 120. */
export interface IpNetwork {
  readonly address: IpAddress;
  readonly prefix: number;
  /** Canonical text such as `10.0.0.0/8`. */
  readonly text: string;
}

const MAPPED_PREFIX = 96;

/**
 * Strict: four decimal numbers without leading zeros, or RFC 4291 text. No zone (`%eth0`), no port, no spaces,
 * no host names. Returns undefined for anything else, such as `.`, which a blocker once took for an address.
 */
export function parseAddress(text: string): IpAddress | undefined {
  const bytes = addressBytes(text);
  if (bytes === undefined) return undefined;
  const version = isMapped(bytes) ? 4 : 6;
  return { version, bytes, text: formatBytes(bytes) };
}

/**
 * `address` or `address/prefix`. A network whose host bits are not zero is refused (undefined): it does not
 * say whether one host or the whole network was meant.
 */
export function parseNetwork(text: string): IpNetwork | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  if (slash < 0) return { address, prefix: 128, text: address.text };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const written = Number(digits);
  const isDotted = !text.slice(0, slash).includes(':');
  const prefix = isDotted ? written + MAPPED_PREFIX : written;
  if (prefix > 128 || !isZeroAfter(address.bytes, prefix)) return undefined;
  const shown = address.version === 4 ? prefix - MAPPED_PREFIX : prefix;
  return { address, prefix, text: `${address.text}/${shown}` };
}

export function networkContains(network: IpNetwork, address: IpAddress): boolean {
  const a = network.address.bytes;
  const b = address.bytes;
  const whole = network.prefix >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = network.prefix & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((a[whole] as number) & mask) === ((b[whole] as number) & mask);
}

function addressBytes(text: string): Uint8Array | undefined {
  if (isIPv4(text)) {
    const bytes = new Uint8Array(16);
    bytes[10] = 0xff;
    bytes[11] = 0xff;
    text.split('.').forEach((part, i) => {
      bytes[12 + i] = Number(part);
    });
    return bytes;
  }
  return isIPv6(text) && !text.includes('%') ? parseV6(text) : undefined;
}

/** `text` is known to be well formed. */
function parseV6(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head = '', tail] = text.split('::');
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  left.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  right.forEach((group, i) => {
    const at = 16 - 2 * (right.length - i);
    bytes[at] = group >> 8;
    bytes[at + 1] = group & 0xff;
  });
  return bytes;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function isZeroAfter(bytes: Uint8Array, prefix: number): boolean {
  const whole = prefix >> 3;
  if (whole === 16) return true;
  if (((bytes[whole] as number) & (0xff >> (prefix & 7))) !== 0) return false;
  for (let i = whole + 1; i < 16; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** RFC 5952: lowercase, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatBytes(bytes: Uint8Array): string {
  if (isMapped(bytes)) return bytes.subarray(12).join('.');
  const parts: number[] = [];
  for (let i = 0; i < 16; i += 2) parts.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && parts[j] === 0) j++;
    if (j - i > length) {
      start = i;
      length = j - i;
    }
  }
  const hex = parts.map((part) => part.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}
