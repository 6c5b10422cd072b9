import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/** Spells a source that is an interface, whatever files lie about. */
export const LIVE_PREFIX = 'live:';

/** Names that tcpdump takes beside those of the kernel: every interface at once. */
const ANY = 'any';

/** The network interfaces of this machine, also those without an address. */
export function interfaceNames(): readonly string[] {
  try {
    // Two lines of header, then a line an interface; unlike /sys it is always that of our own network namespace.
    const lines = readFileSync('/proc/net/dev', 'utf8').trimEnd().split('\n').slice(2);
    return lines.map((line) => line.slice(0, line.lastIndexOf(':')).trim()).sort();
  } catch {
    // Not Linux: only those with an address are known.
    return Object.keys(networkInterfaces()).sort();
  }
}

/**
 * The interface that a source names: `live:NAME` whatever NAME is, or the bare name of an interface that exists.
 * Undefined where it names none; a file of that name is the caller's to look for first.
 */
export function namedInterface(source: string): string | undefined {
  if (source.startsWith(LIVE_PREFIX)) return source.slice(LIVE_PREFIX.length);
  return source === ANY || interfaceNames().includes(source) ? source : undefined;
}
