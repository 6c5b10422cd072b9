import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Clock } from '../../base/index.ts';
import type { Detection } from '../detection.ts';
import { AlertsError } from '../errors.ts';
import { PRODUCT } from '../product.ts';
import type { NoticeFormat, WebhookConfig } from './config.ts';
import { readSecretFile } from './secret-file.ts';
import { formatNotice, type NoticeSink, noticeKey } from './sink.ts';

/** Answers that speak of this very notice: the same bytes will not be taken later either. */
const FINAL_STATUSES: readonly number[] = [400, 413, 415, 422];
/** A `Retry-After` is followed up to here. */
const MAX_RETRY_AFTER_MS = 3_600_000;

const CONTENT_TYPES: Readonly<Record<NoticeFormat, string>> = {
  json: 'application/json',
  ocsf: 'application/json',
  eve: 'application/json',
  cef: 'text/plain; charset=utf-8',
};

/**
 * Posts each notice, signed: `guardian-signature: v1=` and the HMAC-SHA-256, in hexadecimal, of
 * `<guardian-timestamp>.<body>` under the shared secret. `idempotency-key` is the same at each try. A redirect is a
 * failure: what is signed for one receiver goes to no other.
 */
export class WebhookSink implements NoticeSink {
  readonly name: string;
  readonly concurrency: number;
  readonly #config: WebhookConfig;
  readonly #clock: Clock;
  #agent: HttpAgent;
  #secret: Buffer;

  private constructor(config: WebhookConfig, clock: Clock, secret: Buffer, agent: HttpAgent) {
    this.name = config.name;
    this.concurrency = config.concurrency;
    this.#config = config;
    this.#clock = clock;
    this.#secret = secret;
    this.#agent = agent;
  }

  /** Throws `alerts.secret-unusable`. */
  static async open(config: WebhookConfig, clock: Clock): Promise<WebhookSink> {
    return new WebhookSink(config, clock, await readSecretFile(config.secretFile), await openAgent(config));
  }

  async send(detection: Detection, signal: AbortSignal): Promise<void> {
    const { url, format, timeoutMs } = this.#config;
    const body = formatNotice(detection, format);
    const timestamp = String(Math.trunc(this.#clock.now() / 1_000));
    const answer = await this.#post(url, body, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      headers: {
        'content-type': CONTENT_TYPES[format],
        'content-length': String(Buffer.byteLength(body)),
        'user-agent': `${PRODUCT.name.replaceAll(' ', '-')}/${PRODUCT.version}`,
        'idempotency-key': noticeKey(detection),
        'guardian-timestamp': timestamp,
        'guardian-signature': `v1=${signNotice(this.#secret, timestamp, body)}`,
      },
    });
    const { statusCode: status = 0 } = answer;
    if (status >= 200 && status <= 299) return;
    if (FINAL_STATUSES.includes(status)) {
      throw new AlertsError('alerts.notice-refused', `the receiver answered ${status}`);
    }
    const retryAfterMs = readRetryAfter(answer.headers['retry-after']);
    throw new AlertsError('alerts.sink-failed', `the receiver answered ${status}`, {
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }

  /** Secret and authorities: what is under way ends on its connection, the next notice goes by a new one. */
  async reload(): Promise<void> {
    const [secret, agent] = await Promise.all([
      readSecretFile(this.#config.secretFile),
      openAgent(this.#config),
    ]);
    const before = this.#agent;
    this.#secret = secret;
    this.#agent = agent;
    // Not destroyed, which would call off what is under way.
    before.on('free', (socket) => socket.destroy());
    for (const sockets of Object.values(before.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  /** Resolves with the head of the answer once its body has gone by; of that nothing is kept. */
  #post(
    url: string,
    body: string,
    { signal, headers }: { readonly signal: AbortSignal; readonly headers: Record<string, string> },
  ): Promise<IncomingMessage> {
    const request = url.startsWith('https:') ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) => {
        const { code = 'unknown' } = cause as NodeJS.ErrnoException;
        reject(
          new AlertsError('alerts.sink-failed', `the receiver could not be reached: ${code}`, { cause }),
        );
      };
      const outgoing = request(url, { method: 'POST', headers, agent: this.#agent, signal }, (answer) => {
        answer.once('end', () => resolve(answer)).once('error', fail);
        answer.resume();
      });
      outgoing.once('error', fail);
      outgoing.end(body);
    });
  }
}

async function openAgent({ url, caFile, concurrency }: WebhookConfig): Promise<HttpAgent> {
  const shared = { keepAlive: true, maxSockets: concurrency };
  if (new URL(url).protocol !== 'https:') return new HttpAgent(shared);
  const ca = caFile === null ? undefined : await readFile(caFile);
  return new HttpsAgent({ ...shared, ...(ca && { ca }) });
}

/** Hexadecimal. `timestamp` is in seconds since 1970. */
export function signNotice(secret: Buffer, timestamp: string, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
}

/** Seconds only: a date would be told by a clock that is not ours. */
function readRetryAfter(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,6}$/.test(text)) return undefined;
  return Math.min(Number(text) * 1_000, MAX_RETRY_AFTER_MS);
}
