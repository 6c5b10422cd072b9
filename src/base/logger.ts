import { createRequire } from 'node:module';

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';

/** Fields are named one by one by the caller; whole requests, headers and configuration are never logged. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  error(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Where lines go, one JSON object each; default standard error. */
  readonly write?: (line: string) => void;
}

/** Loaded with the first logger: what only reads files starts without it. */
const load = createRequire(import.meta.url);

/** A logger of flat fields: its type admits no objects, so that a secret inside one cannot slip through. */
export function createLogger(options: LoggerOptions): Logger {
  const pino: typeof import('pino') = load('pino');
  const destination =
    options.write === undefined ? pino.destination({ dest: 2, sync: true }) : { write: options.write };
  return pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  ) satisfies Logger;
}

/** Drops every line. */
export const silentLogger: Logger = { error() {}, warn() {}, info() {}, debug() {} };
