import { createServer } from 'node:http';
import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';
import type { Metrics } from '../base/index.ts';
import { CliError } from './errors.ts';

export interface WorkerHealth {
  /** Where it listens. */
  readonly url: string;
  close(): Promise<void>;
}

export interface WorkerHealthOptions {
  /** 0 takes a free one. */
  readonly port: number;
  /** An IP address; loopback by default. Probes of Kubernetes come from outside the pod. */
  readonly host?: string | undefined;
  /** What there is to say of the worker, and whether it can do its work now. */
  readonly state: () => { readonly ready: boolean } & Readonly<Record<string, unknown>>;
  readonly metrics: Metrics;
}

export const LOOPBACK = '127.0.0.1';
const PATH = /^(?:\/v2)?\/health\/(live|ready)$/;

/**
 * Answers probes: `GET /health/live`, and `GET /health/ready`, 503 while the worker is not. Metrics only where nobody else can ask
 * for them, on loopback. Nothing is read from a request but its path. Throws `cli.unavailable` where the port is taken.
 */
export async function serveHealth(options: WorkerHealthOptions): Promise<WorkerHealth> {
  const { port, host = LOOPBACK, state, metrics } = options;
  const server = createServer((request, response) => {
    request.resume();
    const asked = PATH.exec(request.url ?? '')?.[1];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (isRead && request.url === '/metrics' && host === LOOPBACK) {
      void metrics.text().then(
        (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
      return;
    }
    if (!isRead || asked === undefined) {
      response.writeHead(isRead ? 404 : 405, { 'content-length': 0 }).end();
      return;
    }
    const now = state();
    const isGood = asked === 'live' || now.ready;
    response
      .writeHead(isGood ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      .end(JSON.stringify(asked === 'live' ? { live: true } : now));
  });
  server.maxConnections = 32;
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new CliError('cli.unavailable', `${host}:${port} cannot be listened on`, { cause })),
    );
    server.listen({ port, host }, resolve);
  });
  const address = server.address();
  const found = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${isIP(host) === 6 ? `[${host}]` : host}:${found}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Reads an address to listen on. */
export function parseAddress(text: string): string {
  if (isIP(text) === 0) throw new InvalidArgumentError('expected an IP address.');
  return text;
}
