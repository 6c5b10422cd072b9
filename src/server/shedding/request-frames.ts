import type { Priority } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';

/**
 * What the next bytes of a connection are. `partial`: the head is not all there. `infer`: a request that may be refused unread.
 * `other`: any other request of known length. `opaque`: nothing that is understood here; only the real parser may say what it is.
 */
export type FrameKind = 'partial' | 'opaque' | 'other' | 'infer';

const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const LOWER = 32;
const PREFIX = Buffer.from('POST /v2/models/');
const SUFFIX = Buffer.from('/infer');
const VERSION = Buffer.from(' HTTP/1.1');
const CONNECT = Buffer.from('CONNECT ');
const CONTENT_LENGTH = Buffer.from('content-length');
const TRANSFER_ENCODING = Buffer.from('transfer-encoding');
const PRIORITY = Buffer.from('guardian-priority');
const UPGRADE = Buffer.from('upgrade');
const EXPECT = Buffer.from('expect');
const CONNECTION = Buffer.from('connection');
const KEEP_ALIVE = Buffer.from('keep-alive');
const CLOSE = Buffer.from('close');
const BATCH = Buffer.from('batch');
/** Longest length that is read, in digits. */
const LENGTH_DIGITS = 9;
const PARTIAL = -1;
const BROKEN = -2;
/** 1 for what the name of a header is made of (`tchar`, RFC 9110, section 5.6.2). */
const IS_NAME = Uint8Array.from({ length: 256 }, (_, code) =>
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(String.fromCharCode(code)) ? 1 : 0,
);

/**
 * Where a request ends and what it asks for, read off its head and nothing more. Stricter than the parsers behind it: lines end
 * in CR LF, one Content-Length of digits alone, no other framing. What is not so is `opaque`, so that the two never
 * disagree about where a request that was refused here ended.
 */
export class FrameReader {
  /** Of the head with its empty line, and of the body after it. */
  headBytes = 0;
  bodyBytes = 0;
  /** As the header says; who says it in the body alone is live here. */
  priority: Priority = 'live';
  /** The client takes no further answer on this connection. */
  isLast = false;

  /** Reads the head that begins at `from`. The fields hold for `infer` and `other`. */
  read(bytes: Uint8Array, from: number): FrameKind {
    this.priority = 'live';
    this.isLast = false;
    this.bodyBytes = 0;
    let lineEnd = findLineEnd(bytes, from);
    if (lineEnd < 0) return unfinished(lineEnd, bytes.length - from);
    const targetEnd = lineEnd - VERSION.length;
    if (targetEnd <= from || !isAt(bytes, targetEnd, VERSION)) return 'opaque';
    const first = bytes[from] as number;
    if (first < 65 || first > 90 || isAt(bytes, from, CONNECT)) return 'opaque';
    const isInfer = isAt(bytes, from, PREFIX) && isAt(bytes, targetEnd - SUFFIX.length, SUFFIX);
    let hasLength = false;
    for (let at = lineEnd + 2; ; at = lineEnd + 2) {
      lineEnd = findLineEnd(bytes, at);
      if (lineEnd < 0) return unfinished(lineEnd, bytes.length - from);
      if (lineEnd === at) {
        this.headBytes = at + 2 - from;
        if (this.headBytes > SERVER_LIMITS.headerBytes) return 'opaque';
        if (!isInfer) return 'other';
        return hasLength ? 'infer' : 'opaque';
      }
      let nameEnd = at;
      while (IS_NAME[bytes[nameEnd] as number] === 1) nameEnd++;
      if (nameEnd === at || bytes[nameEnd] !== COLON) return 'opaque';
      let value = nameEnd + 1;
      while (bytes[value] === SPACE) value++;
      switch (nameEnd - at) {
        case CONTENT_LENGTH.length:
          if (!isName(bytes, at, CONTENT_LENGTH)) break;
          if (hasLength || !this.#readLength(bytes, value, lineEnd)) return 'opaque';
          hasLength = true;
          break;
        case PRIORITY.length: // As long as transfer-encoding.
          if (isName(bytes, at, TRANSFER_ENCODING)) return 'opaque';
          if (isName(bytes, at, PRIORITY)) this.#readPriority(bytes, value, lineEnd);
          break;
        case UPGRADE.length:
          if (isName(bytes, at, UPGRADE)) return 'opaque';
          break;
        case EXPECT.length:
          if (isName(bytes, at, EXPECT)) return 'opaque';
          break;
        case CONNECTION.length:
          if (!isName(bytes, at, CONNECTION)) break;
          if (isValue(bytes, value, lineEnd, CLOSE)) this.isLast = true;
          else if (!isValue(bytes, value, lineEnd, KEEP_ALIVE)) return 'opaque';
          break;
        default:
      }
    }
  }

  #readLength(bytes: Uint8Array, from: number, to: number): boolean {
    if (to === from || to - from > LENGTH_DIGITS) return false;
    let length = 0;
    for (let at = from; at < to; at++) {
      const digit = (bytes[at] as number) - 48;
      if (digit < 0 || digit > 9) return false;
      length = length * 10 + digit;
    }
    this.bodyBytes = length;
    return true;
  }

  /** As `readTerms` reads it: 0 and 1 are live, every higher number is batch. */
  #readPriority(bytes: Uint8Array, from: number, to: number): void {
    if (isValue(bytes, from, to, BATCH)) this.priority = 'batch';
    const digit = (bytes[from] as number) - 48;
    if (to - from === 1 && digit > 1 && digit <= 9) this.priority = 'batch';
  }
}

function unfinished(lineEnd: number, length: number): FrameKind {
  return lineEnd === PARTIAL && length <= SERVER_LIMITS.headerBytes ? 'partial' : 'opaque';
}

/** Where the line's CR is; PARTIAL where it is not there yet, BROKEN where a CR or LF stands alone. */
function findLineEnd(bytes: Uint8Array, from: number): number {
  const end = bytes.length;
  for (let at = from; at < end; at++) {
    const code = bytes[at] as number;
    if (code > CR) continue;
    if (code === LF) return BROKEN;
    if (code !== CR) continue;
    if (at + 1 === end) return PARTIAL;
    return bytes[at + 1] === LF ? at : BROKEN;
  }
  return PARTIAL;
}

function isAt(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}

/** In any case of letters; `-` and digits are as they are. */
function isName(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (((bytes[at + i] as number) | LOWER) !== name[i]) return false;
  return true;
}

function isValue(bytes: Uint8Array, from: number, to: number, value: Uint8Array): boolean {
  return to - from === value.length && isName(bytes, from, value);
}
