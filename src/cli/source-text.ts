import type { SourceCounters } from '../traffic/index.ts';
import { printable, table } from './text.ts';

/** What the argument SOURCE of a command may be. */
export const SOURCE_ARGUMENT =
  'a file of packets or flows, a folder of captures, - for standard input, a network interface (live:NAME where a file has its name), or netflow:// or ipfix:// with address and port';

/** The same at length, for --help. */
export const SOURCES = `
Files are told by their content: pcap and pcapng; Zeek conn.log, dns.log and ssl.log (TSV or JSON); Suricata EVE; Argus
binetflow; flows as CSV or JSON lines, each plain or gzip; flows as Parquet. A folder holds captures, read by name.
An interface is captured by tcpdump, which gives up its rights when it has opened it; that needs root or the capability
cap_net_raw. netflow://ADDRESS:PORT takes NetFlow v5 and v9, ipfix://ADDRESS:PORT takes IPFIX; beyond loopback the exporters are
named: ?allow=ADDRESS,ADDRESS or ?allow=any. Suricata, NetFlow and IPFIX need the schema flow, or a model trained with it.
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
