import { hash as digest } from 'node:crypto';
import { escapeName, NameEntropy } from './name-text.ts';

export interface ClientHello {
  /** Whether all of it was there: only then is there a JA4, and is a missing name known to be missing. */
  readonly isWhole: boolean;
  /** The server name, if there was one; text escaped and at most 255 characters, length as on the wire. */
  readonly serverName:
    | { readonly text: string; readonly length: number; readonly entropy: number }
    | undefined;
  readonly ja4: string | undefined;
}

const RECORD_HEADER = 5;
const HANDSHAKE_HEADER = 4;
const EXTENSION = { serverName: 0, signatureAlgorithms: 13, alpn: 16, supportedVersions: 43 } as const;
const NO_HASH = '000000000000';

/** JA4's two letters for a version of TLS; DTLS and QUIC are not read here. */
const VERSIONS: Readonly<Record<number, string>> = {
  772: '13',
  771: '12',
  770: '11',
  769: '10',
  768: 's3',
  2: 's2',
};

/** Hashes of lists that were met, by the list: there are few programs that speak TLS, and each repeats itself. */
const hashes = new Map<string, string>();
const MAX_HASHES = 1_024;
const MAX_HASHED = 256;

const entropy = new NameEntropy();

/**
 * Reads the TLS record in `bytes[offset, end)` that begins a ClientHello (RFC 8446, section 4.1.2), and its JA4
 * (FoxIO, "JA4: TLS Client Fingerprinting"). What lies in a second segment or record is not looked for. Undefined
 * where this is no ClientHello: wrong types, or a list inside that is longer than what holds it.
 */
export function readClientHello(bytes: Uint8Array, offset: number, end: number): ClientHello | undefined {
  const u16 = (at: number) => (bytes[at]! << 8) | bytes[at + 1]!;
  if (offset + RECORD_HEADER + HANDSHAKE_HEADER > end) return undefined;
  if (bytes[offset] !== 0x16 || bytes[offset + 1] !== 3 || bytes[offset + RECORD_HEADER] !== 1)
    return undefined;
  const bodyAt = offset + RECORD_HEADER + HANDSHAKE_HEADER;
  const claimed = bodyAt + (bytes[offset + 6]! << 16) + u16(offset + 7);
  const stop = Math.min(end, offset + RECORD_HEADER + u16(offset + 3), claimed);
  const cut = claimed > stop;
  const unread: ClientHello | undefined = cut
    ? { isWhole: false, serverName: undefined, ja4: undefined }
    : undefined;

  // Version, random, then session, ciphers and compression methods, each behind its length.
  const sessionAt = bodyAt + 34;
  if (sessionAt + 1 > stop) return unread;
  const ciphersAt = sessionAt + 1 + bytes[sessionAt]!;
  if (ciphersAt + 2 > stop) return unread;
  const ciphersEnd = ciphersAt + 2 + u16(ciphersAt);
  if (ciphersEnd + 1 > stop) return unread;
  const extensionsAt = ciphersEnd + 1 + bytes[ciphersEnd]!;
  if (extensionsAt > stop) return unread;

  const ciphers = readNumbers(bytes, ciphersAt + 2, ciphersEnd);
  const extensions: number[] = [];
  let version = u16(bodyAt);
  let signatureAlgorithms: readonly number[] = [];
  let alpn = '00';
  let serverName: ClientHello['serverName'];
  let hasServerName = false;
  // Before TLS 1.2 a ClientHello may end without extensions.
  let at = extensionsAt + 2;
  const extensionsEnd = extensionsAt + 2 <= stop ? at + u16(extensionsAt) : extensionsAt;
  while (at + 4 <= Math.min(stop, extensionsEnd)) {
    const type = u16(at);
    const valueAt = at + 4;
    const valueEnd = valueAt + u16(at + 2);
    if (valueEnd > Math.min(stop, extensionsEnd)) break;
    if (!isGrease(type)) extensions.push(type);
    if (type === EXTENSION.serverName) {
      hasServerName = true;
      serverName ??= readServerName(bytes, valueAt, valueEnd);
    } else if (type === EXTENSION.signatureAlgorithms) {
      signatureAlgorithms = readNumbers(bytes, valueAt + 2, valueEnd);
    } else if (type === EXTENSION.alpn) {
      alpn = readAlpn(bytes, valueAt, valueEnd);
    } else if (type === EXTENSION.supportedVersions) {
      version = Math.max(0, ...readNumbers(bytes, valueAt + 1, valueEnd));
    }
    at = valueEnd;
  }
  const isWhole = !cut && (extensionsAt === stop || at === extensionsEnd);
  if (!isWhole && !cut) return undefined;
  if (!isWhole) return { isWhole, serverName, ja4: undefined };
  const parts = { version, hasServerName, ciphers, extensions, signatureAlgorithms, alpn };
  return { isWhole, serverName, ja4: ja4(parts) };
}

interface Ja4Parts {
  readonly version: number;
  readonly hasServerName: boolean;
  /** All without GREASE. */
  readonly ciphers: readonly number[];
  readonly extensions: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  readonly alpn: string;
}

/** JA4_a, JA4_b and JA4_c of a ClientHello over TCP. */
function ja4(parts: Ja4Parts): string {
  const { version, ciphers, extensions, signatureAlgorithms } = parts;
  const count = (list: readonly number[]) => String(Math.min(99, list.length)).padStart(2, '0');
  const a = `t${VERSIONS[version] ?? '00'}${parts.hasServerName ? 'd' : 'i'}${count(ciphers)}${count(extensions)}${parts.alpn}`;
  const shown = extensions.filter((type) => type !== EXTENSION.serverName && type !== EXTENSION.alpn);
  const b = ciphers.length === 0 ? NO_HASH : hashOf(ciphers, []);
  const c = shown.length === 0 ? NO_HASH : hashOf(shown, signatureAlgorithms);
  return `${a}_${b}_${c}`;
}

/** The 16-bit numbers in `bytes[start, end)`, without GREASE. */
function readNumbers(bytes: Uint8Array, start: number, end: number): number[] {
  const numbers: number[] = [];
  for (let at = start; at + 2 <= end; at += 2) {
    const value = (bytes[at]! << 8) | bytes[at + 1]!;
    if (!isGrease(value)) numbers.push(value);
  }
  return numbers;
}

/** The first host name of a server_name extension (RFC 6066, section 3); undefined where there is none. */
function readServerName(bytes: Uint8Array, at: number, end: number): ClientHello['serverName'] {
  // List length, type (0: host name), name length.
  if (at + 5 > end || bytes[at + 2] !== 0) return undefined;
  const nameEnd = at + 5 + ((bytes[at + 3]! << 8) | bytes[at + 4]!);
  if (nameEnd > end) return undefined;
  for (let i = at + 5; i < nameEnd; i++) entropy.add(bytes[i]!);
  const text = escapeName(bytes, at + 5, nameEnd, false);
  return { text, length: nameEnd - at - 5, entropy: entropy.take() };
}

/** First and last character of the first protocol; of its hexadecimal form where one is no letter or digit. */
function readAlpn(bytes: Uint8Array, at: number, end: number): string {
  // List length, length of the first protocol.
  const length = at + 3 <= end ? bytes[at + 2]! : 0;
  if (length === 0 || at + 3 + length > end) return '00';
  const first = bytes[at + 3]!;
  const last = bytes[at + 2 + length]!;
  if (isAlphanumeric(first) && isAlphanumeric(last)) return String.fromCharCode(first, last);
  return `${(first >>> 4).toString(16)}${(last & 15).toString(16)}`;
}

function isAlphanumeric(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/** RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >>> 8 === (value & 255);
}

function sorted(values: readonly number[]): number[] {
  return values.toSorted((a, b) => a - b);
}

function hex(values: readonly number[]): string {
  return values.map((value) => value.toString(16).padStart(4, '0')).join(',');
}

/** The hash of both lists, the first sorted. */
function hashOf(list: readonly number[], rest: readonly number[]): string {
  const key = String.fromCharCode(...list, list.length, ...rest);
  let hash = hashes.get(key);
  if (hash === undefined) {
    const both = rest.length > 0 ? `${hex(sorted(list))}_${hex(rest)}` : hex(sorted(list));
    hash = digest('sha256', both, 'hex').slice(0, 12);
    if (hashes.size === MAX_HASHES) hashes.clear();
    // Longer lists come from no program that is worth remembering.
    if (key.length <= MAX_HASHED) hashes.set(key, hash);
  }
  return hash;
}
