import { readFileSync } from 'node:fs';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { BusError } from './errors.ts';

/** Where the server is and how we show who we are. Secrets come from files, never from the address. */
export interface NatsAddress {
  /** `nats://host:port` or `tls://host:port`. */
  readonly server: string;
  /** PEM file of the authority that signed the server's certificate. */
  readonly caFile?: string;
  /** PEM files of our own certificate and key. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** User and the file that holds the password. */
  readonly user?: string;
  readonly passwordFile?: string;
  /** File that holds a token. */
  readonly tokenFile?: string;
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** Options for the client's `connect`. Throws `bus.address-refused`, never naming a secret. */
export function connectionOptions(address: NatsAddress) {
  const url = parse(address.server);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const isTls = url.protocol === 'tls:' || address.caFile !== undefined;
  const hasCredentials =
    address.tokenFile !== undefined || address.passwordFile !== undefined || address.keyFile !== undefined;
  if (!LOOPBACK.has(url.hostname) && !(isTls && hasCredentials)) {
    throw new BusError(
      'bus.address-refused',
      `expected TLS (tls:// or caFile) and credentials (tokenFile, user with passwordFile, or certificateFile with keyFile) for ${url.host}`,
    );
  }
  return {
    servers: `${url.hostname}:${url.port || '4222'}`,
    name: 'ai-guardian',
    ...(isTls && {
      tls: {
        // A bare address names no server in the handshake, and the check would be against `localhost`.
        checkServerIdentity: (asked: string, certificate: PeerCertificate) =>
          checkServerIdentity(asked === 'localhost' ? host : asked, certificate),
        ...(address.caFile !== undefined && { ca: readText(address.caFile) }),
        ...(address.certificateFile !== undefined && { cert: readText(address.certificateFile) }),
        ...(address.keyFile !== undefined && { key: readText(address.keyFile) }),
      },
    }),
    ...(address.tokenFile !== undefined && { token: readText(address.tokenFile).trim() }),
    ...(address.user !== undefined && { user: address.user }),
    ...(address.passwordFile !== undefined && { pass: readText(address.passwordFile).trim() }),
  };
}

function parse(server: string): URL {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url === undefined || !['nats:', 'tls:'].includes(url.protocol) || url.hostname === '') {
    throw new BusError('bus.address-refused', 'expected nats://host:port or tls://host:port');
  }
  if (url.username !== '' || url.password !== '') {
    throw new BusError('bus.address-refused', 'credentials belong in files, not in the address');
  }
  return url;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new BusError('bus.address-refused', `${path} cannot be read`, { cause });
  }
}
