import { z } from 'zod';

/** Where PostgreSQL is; no secret is part of it. */
export interface PostgresPlace {
  /** Name, address, or the folder of a Unix socket, which begins with a slash. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** Whether the way there leaves this machine; it is encrypted then, and the server shows who it is. */
  readonly isElsewhere: boolean;
}

const DEFAULT_PORT = 5432;
const MAX_URL_CHARACTERS = 2_048;

/**
 * Reads `postgresql://user@host:5432/database`, or `postgresql:///database?host=/folder&user=name` for a Unix socket.
 * Undefined for anything else: a password above all, which would stand in configuration, logs and process lists, and
 * parameters such as `sslmode`, which would say otherwise than the rule here.
 */
export function parsePostgresUrl(text: string): PostgresPlace | undefined {
  if (text.length > MAX_URL_CHARACTERS || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const { searchParams, password, hash } = url;
  const known = [...searchParams.keys()].every((key) => key === 'host' || key === 'user' || key === 'port');
  if (!/^postgres(ql)?:$/.test(url.protocol) || password !== '' || hash !== '' || !known) return undefined;
  const host = decode(url.hostname.replace(/^\[(.*)\]$/, '$1') || searchParams.get('host'));
  const user = decode(url.username || searchParams.get('user'));
  const database = decode(url.pathname.replace(/^\//, ''));
  const port = Number(url.port || searchParams.get('port') || DEFAULT_PORT);
  const isComplete = [host, user, database].every((part) => part !== '' && !part.includes('\0'));
  if (!isComplete || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return { host, port, database, user, isElsewhere: !isHere(host) };
}

function decode(text: string | null): string {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    return '';
  }
}

function isHere(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

const file = (about: string) => z.string().min(1).max(4_096).nullable().default(null).describe(about);

/** The part `storage.postgres` of the configuration. */
export const postgresConfigSchema = z.strictObject({
  url: z
    .string()
    .max(MAX_URL_CHARACTERS)
    .refine(
      (text) => parsePostgresUrl(text) !== undefined,
      'expected postgresql://user@host:port/database or postgresql:///database?host=/folder&user=name, without a password',
    )
    .nullable()
    .default(null),
  passwordFile: file('the password on one line, readable by its owner alone; read anew for each connection'),
  caFile: file(
    "PEM: who may certify PostgreSQL; the system's authorities by default. TLS is a must off this host",
  ),
  leaseMs: z
    .number()
    .int()
    .min(1_000)
    .max(600_000)
    .default(10_000)
    .describe('for so long one server stays the writer after it was last heard of'),
});

export type PostgresConfig = z.output<typeof postgresConfigSchema>;
