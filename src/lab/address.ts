/** An IPv4 or IPv6 address with the Ethernet address it is reached by. */
export interface Address {
  /** Canonical text (RFC 5952 for IPv6). */
  readonly text: string;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  readonly mac: Uint8Array;
  /** How its TCP/IP stack looks on the wire. */
  readonly stack: Stack;
}

/** What a host's operating system gives away in its headers. */
export interface Stack {
  readonly ttl: number;
  /** TCP timestamps on every segment (12 bytes more). */
  readonly timestamps: boolean;
  readonly window: number;
  readonly mss: number;
}

export const LINUX: Stack = { ttl: 64, timestamps: true, window: 64240, mss: 1460 };
export const WINDOWS: Stack = { ttl: 128, timestamps: false, window: 65535, mss: 1460 };
export const DEVICE: Stack = { ttl: 255, timestamps: false, window: 5840, mss: 1460 };
/** A crafted SYN of a scanner: no options but MSS, a small window. */
export const CRAFTED: Stack = { ttl: 54, timestamps: false, window: 1024, mss: 1460 };

/** The address of an unsigned 32-bit number. Its Ethernet address is locally administered and follows from it. */
export function ipv4(value: number, stack: Stack): Address {
  const bytes = Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  return { text: bytes.join('.'), bytes, mac: macOf(bytes), stack };
}

/** The address of eight 16-bit groups. */
export function ipv6(groups: readonly number[], stack: Stack): Address {
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[2 * i] = group >>> 8;
    bytes[2 * i + 1] = group & 255;
  });
  return { text: ipv6Text(groups), bytes, mac: macOf(bytes.subarray(12)), stack };
}

/** Writes eight groups as RFC 5952 says: lowercase, the first longest run of two or more zero groups as `::`. */
export function ipv6Text(groups: readonly number[]): string {
  let best = -1;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) {
      best = from;
      length = to - from;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + length).join(':')}`;
}

/** Parses dotted text into an unsigned 32-bit number; for the constants of the lab alone. */
export function ipv4Number(text: string): number {
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

function macOf(tail: Uint8Array): Uint8Array {
  const first = tail[0] as number;
  if (tail.length === 4 && first >= 224 && first < 240) {
    return Uint8Array.of(0x01, 0x00, 0x5e, (tail[1] as number) & 127, tail[2] as number, tail[3] as number);
  }
  if (tail[3] === 255 && first !== 224) return new Uint8Array(6).fill(255);
  return Uint8Array.of(0x02, 0x1a, ...tail);
}
