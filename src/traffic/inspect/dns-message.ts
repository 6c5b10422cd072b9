import type { NameMemory } from './name-memory.ts';
import { type DnsName, NameEntropy, NameText } from './name-text.ts';

export interface DnsMessage {
  readonly isResponse: boolean;
  /** 0 is no error; the four bits of the header, not the extended code. */
  readonly responseCode: number;
  /** At most `MAX_QUESTIONS`. */
  readonly questions: readonly DnsQuestion[];
  /** Answers read: at most `MAX_ANSWERS`, fewer where the message is cut. */
  readonly answers: number;
  /** Smallest time to live of an answer, s; NaN without one. */
  readonly ttlMin: number;
}

export interface DnsQuestion {
  readonly name: DnsName;
  readonly type: number;
}

const HEADER_BYTES = 12;
/** More questions than this are none: resolvers refuse two. */
const MAX_QUESTIONS = 32;
const MAX_ANSWERS = 64;
/** RFC 1035, section 2.3.4: octets of a name, lengths and root included. */
const MAX_NAME_OCTETS = 255;

const entropy = new NameEntropy();
const text = new NameText();

/**
 * Reads the DNS, mDNS or LLMNR message in `bytes[offset, end)` (RFC 1035, section 4; RFC 6762; RFC 4795). Undefined
 * where that is none: a header or question that is cut or broken, or a query that asks nothing. Answers that are cut
 * or broken end the reading. Pointers only go backwards, so no message is read twice over.
 * `known` spares names that were read before.
 */
export function readDnsMessage(
  bytes: Uint8Array,
  offset: number,
  end: number,
  known?: NameMemory,
): DnsMessage | undefined {
  if (offset + HEADER_BYTES > end) return undefined;
  const u16 = (at: number) => (bytes[at]! << 8) | bytes[at + 1]!;
  const isResponse = (bytes[offset + 2]! & 0x80) !== 0;
  const asked = u16(offset + 4);
  if (asked > MAX_QUESTIONS || (asked === 0 && !isResponse)) return undefined;
  const questions: DnsQuestion[] = [];
  let at = offset + HEADER_BYTES;
  for (let i = 0; i < asked; i++) {
    let name = known?.find(bytes, at, end);
    if (name === undefined) {
      name = readName(bytes, offset, at, end);
      if (name !== undefined) known?.remember(bytes, at, name);
    }
    const next = skipName(bytes, at, end);
    if (name === undefined || next < 0 || next + 4 > end) return undefined;
    questions.push({ name, type: u16(next) });
    at = next + 4;
  }
  const expected = Math.min(u16(offset + 6), MAX_ANSWERS);
  let answers = 0;
  let ttlMin = Number.NaN;
  while (answers < expected) {
    const next = skipName(bytes, at, end);
    if (next < 0 || next + 10 > end) break;
    const raw = u16(next + 4) * 65_536 + u16(next + 6);
    // RFC 2181, section 8: with the top bit set it is taken as 0.
    const ttl = raw > 0x7fffffff ? 0 : raw;
    if (!(ttl >= ttlMin)) ttlMin = ttl;
    answers++;
    at = next + 10 + u16(next + 8);
    if (at > end) break;
  }
  return { isResponse, responseCode: bytes[offset + 3]! & 15, questions, answers, ttlMin };
}

/** The name at `at` of a message that begins at `message`; undefined where it is cut, too long or points forward. */
function readName(bytes: Uint8Array, message: number, at: number, end: number): DnsName | undefined {
  let length = 0;
  let labels = 0;
  // A pointer must lead before everything that was read of this name.
  let lowest = at;
  for (let next = at; ; ) {
    if (next >= end) break;
    const size = bytes[next]!;
    if (size === 0) {
      return { text: text.take(), length, labels, entropy: entropy.take() };
    }
    if (size >= 0xc0) {
      if (next + 2 > end) break;
      const target = message + (((size & 0x3f) << 8) | bytes[next + 1]!);
      if (target >= lowest || target < message + HEADER_BYTES) break;
      lowest = target;
      next = target;
      continue;
    }
    const labelEnd = next + 1 + size;
    // 0x40 and 0x80 are no labels (RFC 6891, section 5). Every label adds its length octet, the root one more.
    if (size > 63 || labelEnd > end || length + size + 2 + (labels > 0 ? 1 : 0) > MAX_NAME_OCTETS) break;
    if (labels > 0) {
      text.addDot();
      length++;
      entropy.add(0x2e);
    }
    text.add(bytes, next + 1, labelEnd, true);
    for (let i = next + 1; i < labelEnd; i++) entropy.add(bytes[i]!);
    length += size;
    labels++;
    next = labelEnd;
  }
  entropy.take();
  text.take();
  return undefined;
}

/** Where the name at `at` ends; -1 where it is cut or no name. */
function skipName(bytes: Uint8Array, at: number, end: number): number {
  for (let next = at; next < end; ) {
    const size = bytes[next]!;
    if (size === 0) return next + 1;
    if (size >= 0xc0) return next + 2 <= end ? next + 2 : -1;
    if (size > 63) return -1;
    next += 1 + size;
  }
  return -1;
}
