import type { Server } from 'node:net';
import { ServerError } from './errors.ts';

const LOOPBACK_NAMES = ['127.0.0.1', 'localhost', '[::1]'];

/** Clients leave these ports out of the Host header. */
const USUAL_PORTS = [80, 443];

/**
 * Names by which this server may be called: loopback and those it was told, at its own port where they have none. One
 * that does not listen yet knows only what it was told.
 */
export function serverNames(server: Server, allowedHosts: readonly string[]): ReadonlySet<string> {
  const address = server.address();
  const allowed = allowedHosts.map((host) => host.toLowerCase());
  if (typeof address !== 'object' || address === null) return new Set(allowed);
  const { port } = address;
  return new Set(
    [...LOOPBACK_NAMES, ...allowed].flatMap((name) => {
      if (/:\d+$/.test(name)) return [name];
      return USUAL_PORTS.includes(port) ? [name, `${name}:${port}`] : [`${name}:${port}`];
    }),
  );
}

/**
 * Refuses requests that a web page made a browser send: under a name of the page's own that it points at this
 * machine (DNS rebinding), or across origins. Throws `server.host-refused`, `server.origin-refused`.
 */
export function checkHostAndOrigin(
  headers: { readonly host?: string | undefined; readonly origin?: string | undefined },
  names: ReadonlySet<string>,
  ownScheme: 'http' | 'https' = 'http',
): void {
  if (headers.host === undefined || !names.has(headers.host.toLowerCase())) {
    throw new ServerError('server.host-refused', 'the Host header is not a name of this server');
  }
  if (headers.origin === undefined) return;
  const [, scheme, host = ''] = /^(https?):\/\/([^/]+)$/i.exec(headers.origin) ?? [];
  if (scheme?.toLowerCase() !== ownScheme || !names.has(host.toLowerCase())) {
    throw new ServerError('server.origin-refused', 'the Origin header is not that of this server');
  }
}

/** Whether a host to listen on is loopback, whatever the resolver says of other names. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
