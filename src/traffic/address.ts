/** Text of an IPv4 address given as one 32-bit number in host order. */
export function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Canonical text (RFC 5952) of an IPv6 address given as four 32-bit numbers, most significant first. */
export function formatIpv6(w0: number, w1: number, w2: number, w3: number): string {
  if (w0 === 0 && w1 === 0 && w2 === 0xffff) return `::ffff:${formatIpv4(w3)}`;
  const groups = [
    w0 >>> 16,
    w0 & 0xffff,
    w1 >>> 16,
    w1 & 0xffff,
    w2 >>> 16,
    w2 & 0xffff,
    w3 >>> 16,
    w3 & 0xffff,
  ];
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) {
      bestStart = start;
      bestLength = end - start;
    }
    if (end > start) start = end;
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  if (bestStart < 0) return text(0, 8);
  return `${text(0, bestStart)}::${text(bestStart + bestLength, 8)}`;
}

export interface ParsedAddress {
  /** Canonical text (RFC 5952). */
  readonly text: string;
  readonly version: 4 | 6;
  /** Four 32-bit words, most significant first; IPv4 uses the first, the others are 0. */
  readonly words: readonly [number, number, number, number];
}

/** Reads an address, or gives undefined where `text` is none. Zones (`%eth0`) are refused. */
export function parseAddress(text: string): ParsedAddress | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(':')) {
    const word = parseIpv4(text);
    return word === undefined ? undefined : { text: formatIpv4(word), version: 4, words: [word, 0, 0, 0] };
  }
  const groups = parseIpv6(text);
  if (groups === undefined) return undefined;
  const word = (i: number) => (((groups[i] ?? 0) << 16) | (groups[i + 1] ?? 0)) >>> 0;
  const words = [word(0), word(2), word(4), word(6)] as const;
  return { text: formatIpv6(...words), version: 6, words };
}

function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let word = 0;
  for (let i = 1; i <= 4; i++) {
    const part = Number(match[i]);
    if (part > 255) return undefined;
    word = (word << 8) | part;
  }
  return word >>> 0;
}

/** The eight groups of an IPv6 address, or undefined. */
function parseIpv6(text: string): readonly number[] | undefined {
  let rest = text;
  const tail: number[] = [];
  const lastColon = text.lastIndexOf(':');
  if (text.includes('.')) {
    const word = parseIpv4(text.slice(lastColon + 1));
    if (word === undefined) return undefined;
    tail.push(word >>> 16, word & 0xffff);
    rest = text.slice(0, lastColon);
    if (rest.endsWith(':')) rest += ':';
  }
  const halves = rest.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '');
  const after = halves.length === 2 ? parseGroups(halves[1] ?? '') : [];
  if (head === undefined || after === undefined) return undefined;
  const known = head.length + after.length + tail.length;
  if (halves.length === 2 ? known > 7 : known !== 8) return undefined;
  return [...head, ...new Array<number>(8 - known).fill(0), ...after, ...tail];
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  for (const part of text.split(':')) {
    if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined;
    groups.push(Number.parseInt(part, 16));
  }
  return groups;
}
