import { STATUS_CODES } from 'node:http';
import type { Milliseconds } from '../base/index.ts';
import { SERVER_LIMITS } from './limits.ts';

/** What comes before a body. */
export interface AnswerHead {
  readonly status: number;
  readonly type: string;
  /** Bytes of the body. */
  readonly length: number;
  /** The connection ends behind this answer. */
  readonly isLast: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

const { keepAliveTimeoutMs, requestsPerConnection } = SERVER_LIMITS;
const KEEP = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveTimeoutMs / 1000}, max=${requestsPerConnection}\r\n`;
let dateSecond = Number.NaN;
let date = '';

/** Status line and headers, the same as the server's other answers have. */
export function answerHead({ status, type, length, isLast, headers }: AnswerHead, now: Milliseconds): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  head += 'x-content-type-options: nosniff\r\ncache-control: no-store\r\n';
  for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
  head += `content-type: ${type}\r\ncontent-length: ${length}\r\nDate: ${dateText(now)}\r\n`;
  return `${head}${isLast ? 'Connection: close\r\n' : KEEP}\r\n`;
}

/** Made once a second. */
function dateText(now: Milliseconds): string {
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = new Date(now).toUTCString();
  }
  return date;
}
