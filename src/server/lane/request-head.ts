import type { IncomingHttpHeaders } from 'node:http';
import type { PresentedKey } from '../access-key.ts';
import { SERVER_LIMITS } from '../limits.ts';

/** Routes of the lane. */
export type LaneRoute = '/v2/models/:name/infer' | '/v2/models/:name/versions/:version/infer';

/** The head of a POST that one connection repeats: all of it but the length of the body. */
export interface RequestHead {
  readonly url: LaneRoute;
  readonly name: string;
  readonly version?: string;
  /** Without Content-Length; names in lower case, each there once. */
  readonly headers: IncomingHttpHeaders;
  /** What is known of the key in them. */
  readonly kept: { key?: PresentedKey };
}

/** The same as the schemas of both routes take, and in a form that needs no decoding. */
const REQUEST_LINE =
  /^POST \/v2\/models\/([a-z][a-z0-9-]{0,62})(?:\/versions\/([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?\/infer HTTP\/1\.1$/;
/** One space before the value, none behind it; visible ASCII. */
const FIELD = /^([A-Za-z][A-Za-z-]*): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)$/;
const LENGTH = /^[1-9]\d{0,7}$/;
const LENGTH_LINE = /\r\ncontent-length: (\d+)(?=\r\n)/i;
/** Headers that mean something on these routes, or nothing on any. */
const PLAIN: ReadonlySet<string> = new Set([
  ...['host', 'authorization', 'content-type', 'content-length', 'connection'],
  ...['inference-header-content-length', 'guardian-timeout-ms', 'guardian-priority'],
  ...['accept', 'accept-encoding', 'accept-language', 'user-agent', 'sec-fetch-mode'],
  ...['traceparent', 'tracestate', 'x-request-id'],
]);

/** Frames requests of one connection. A head that is like the one before it but for its length is not read again. */
export class HeadReader {
  /** Of the head found last: where its body begins, and how long it is. */
  bodyStart = 0;
  bodyLength = 0;
  #head: RequestHead | undefined;
  /** Bytes of the head before and behind the digits of the length. */
  #before = Buffer.alloc(0);
  #behind = Buffer.alloc(0);

  /**
   * The head that these bytes begin with; undefined where it is not complete, or not plain: whatever may be read in more
   * ways than one, or asks for more than to be scored, is for the server's own parser.
   */
  read(bytes: Buffer): RequestHead | undefined {
    if (this.#head !== undefined && this.#isLikeLast(bytes)) return this.#head;
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0 || end > SERVER_LIMITS.headerBytes / 2) return undefined;
    const text = bytes.toString('latin1', 0, end + 2);
    const found = readHead(text);
    const length = LENGTH_LINE.exec(text);
    if (found === undefined || length === null) return undefined;
    const digits = length[1] as string;
    const at = length.index + length[0].length - digits.length;
    this.#before = Buffer.from(bytes.subarray(0, at));
    this.#behind = Buffer.from(bytes.subarray(at + digits.length, end + 4));
    this.bodyStart = end + 4;
    this.bodyLength = Number(digits);
    this.#head = found;
    return found;
  }

  #isLikeLast(bytes: Buffer): boolean {
    const before = this.#before;
    const behind = this.#behind;
    let at = before.length;
    if (bytes.length <= at || before.compare(bytes, 0, at) !== 0) return false;
    let length = 0;
    const first = at;
    for (; at < first + 8; at++) {
      const digit = (bytes[at] ?? 0) - 48;
      if (digit < 0 || digit > 9 || (at === first && digit === 0)) break;
      length = length * 10 + digit;
    }
    if (at === first || bytes.length < at + behind.length) return false;
    if (behind.compare(bytes, at, at + behind.length) !== 0) return false;
    this.bodyStart = at + behind.length;
    this.bodyLength = length;
    return true;
  }
}

/** `text` ends with the line end of the last header. */
function readHead(text: string): RequestHead | undefined {
  const [requestLine = '', ...lines] = text.slice(0, -2).split('\r\n');
  const [, name, version] = REQUEST_LINE.exec(requestLine) ?? [];
  if (name === undefined) return undefined;
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, field = '', value = ''] = FIELD.exec(line) ?? [];
    const key = field.toLowerCase();
    if (!PLAIN.has(key) || key in headers) return undefined;
    headers[key] = value;
  }
  const { 'content-length': length = '', connection = 'keep-alive', ...others } = headers;
  if (!LENGTH.test(length) || connection.toLowerCase() !== 'keep-alive') return undefined;
  return version === undefined
    ? { url: '/v2/models/:name/infer', name, headers: others, kept: {} }
    : { url: '/v2/models/:name/versions/:version/infer', name, version, headers: others, kept: {} };
}
