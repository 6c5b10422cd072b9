import type { SourceCounters } from '../traffic/index.ts';
import { printable, table } from './text.ts';

/** What the argument SOURCE of a command may be. */
export const SOURCE_ARGUMENT =
  'a file of packets or flows, - for standard input, or a network interface (live:NAME where a file has its name)';

/** The same at length, for --help. */
export const SOURCES = `
Sources, told by their content: pcap, pcapng, Zeek conn.log (TSV or JSON), flows as CSV or JSON lines, each plain or gzip;
flows as Parquet; - is standard input. An interface is captured by tcpdump, which gives up its rights when it has
opened it; that needs root or the capability cap_net_raw.
`;

/** What was not metered, lost or refused, by name; undefined where nothing was. */
export function faultsTable(
  { malformed, ignored, limits, lost }: SourceCounters,
  rejects: Readonly<Record<string, number>>,
): string | undefined {
  const rows = [
    ...rowsOf('', { ...malformed, ...ignored }),
    ...rowsOf('limit ', limits),
    ...rowsOf('lost ', lost),
    ...rowsOf('rejected ', rejects),
  ];
  return rows.length === 0 ? undefined : table(['not metered', 'count'], rows);
}

function rowsOf(prefix: string, counts: Readonly<Record<string, number>>): string[][] {
  return Object.entries(counts).map(([name, n]) => [`${prefix}${printable(name)}`, String(n)]);
}
