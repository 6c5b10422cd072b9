import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { connect, isIPv6, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { connect as connectTls } from 'node:tls';
import type { Detection } from '../detection.ts';
import { AlertsError } from '../errors.ts';
import { formatCef } from '../format-cef.ts';
import type { Severity } from '../severity.ts';
import type { SyslogConfig } from './config.ts';
import type { NoticeSink } from './sink.ts';
import { encodeSyslog, frameSyslog } from './syslog-message.ts';

/** Of RFC 5424, table 2. */
const SEVERITY: Readonly<Record<Severity, number>> = {
  informational: 6,
  low: 5,
  medium: 4,
  high: 3,
  critical: 2,
};
/** What an IPv4 datagram holds. */
const MAX_DATAGRAM_BYTES = 65_507;

/**
 * CEF in RFC 5424, by UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425). Syslog has no
 * acknowledgement: a notice counts as delivered when the system has taken its bytes, and those that a receiver had not
 * read when it fell are lost. Who needs more has the webhook.
 */
export class SyslogSink implements NoticeSink {
  readonly name: string;
  /** One stream carries them in order. */
  readonly concurrency = 1;
  readonly #config: SyslogConfig;
  readonly #ca: Buffer | undefined;
  #stream: Socket | undefined;
  #datagrams: DatagramSocket | undefined;

  private constructor(config: SyslogConfig, ca: Buffer | undefined) {
    this.name = config.name;
    this.#config = config;
    this.#ca = ca;
  }

  static async open(config: SyslogConfig): Promise<SyslogSink> {
    return new SyslogSink(config, config.caFile === null ? undefined : await readFile(config.caFile));
  }

  async send(detection: Detection, signal: AbortSignal): Promise<void> {
    const message = encodeSyslog({
      facility: this.#config.facility,
      severity: SEVERITY[detection.severity],
      time: detection.modifiedMs,
      hostname: hostname(),
      appName: 'ai-guardian',
      processId: String(process.pid),
      messageId: detection.activity,
      text: formatCef(detection),
    });
    const limited = AbortSignal.any([signal, AbortSignal.timeout(this.#config.timeoutMs)]);
    if (this.#config.transport === 'udp') await this.#sendDatagram(message);
    else await this.#sendFramed(frameSyslog(message), limited);
  }

  async close(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    const datagrams = this.#datagrams;
    this.#datagrams = undefined;
    await new Promise<void>((resolve) => {
      if (datagrams === undefined) resolve();
      else datagrams.close(() => resolve());
    });
    stream?.end();
    stream?.unref();
  }

  async #sendDatagram(message: Buffer): Promise<void> {
    const { host, port } = this.#config;
    if (message.length > MAX_DATAGRAM_BYTES) {
      throw new AlertsError('alerts.notice-refused', `${message.length} bytes do not fit a datagram`);
    }
    this.#datagrams ??= createSocket(isIPv6(host) ? 'udp6' : 'udp4').on('error', () => {});
    const socket = this.#datagrams;
    await new Promise<void>((resolve, reject) => {
      socket.send(message, port, host, (error) => (error === null ? resolve() : reject(failed(error))));
    });
  }

  async #sendFramed(frame: Buffer, signal: AbortSignal): Promise<void> {
    const stream = this.#stream ?? (await this.#connect(signal));
    await new Promise<void>((resolve, reject) => {
      const onEnd = () => reject(failed(signal.aborted ? signal.reason : 'the connection was closed'));
      const stop = () => stream.destroy();
      signal.addEventListener('abort', stop, { once: true });
      stream.once('close', onEnd);
      stream.write(frame, (error) => {
        signal.removeEventListener('abort', stop);
        stream.off('close', onEnd);
        if (error) reject(failed(error));
        else resolve();
      });
    });
  }

  #connect(signal: AbortSignal): Promise<Socket> {
    const { host, port, transport } = this.#config;
    const ca = this.#ca;
    const stream =
      transport === 'tls'
        ? connectTls({
            host,
            port,
            ...(ca && { ca }),
            ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
          })
        : connect({ host, port });
    const stop = () => stream.destroy();
    signal.addEventListener('abort', stop, { once: true });
    stream.setKeepAlive(true, 30_000);
    // A receiver says nothing; that it ends is all there is to read.
    stream.resume();
    stream.once('end', stop);
    return new Promise((resolve, reject) => {
      stream.once(transport === 'tls' ? 'secureConnect' : 'connect', () => {
        signal.removeEventListener('abort', stop);
        this.#stream = stream;
        resolve(stream);
      });
      let cause: unknown = 'the connection was closed';
      stream.on('error', (error) => {
        cause = error;
      });
      stream.once('close', () => {
        if (this.#stream === stream) this.#stream = undefined;
        reject(failed(signal.aborted ? signal.reason : cause));
      });
    });
  }
}

function failed(cause: unknown): AlertsError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? String(cause);
  return new AlertsError('alerts.sink-failed', `the receiver could not be reached: ${code}`, { cause });
}
