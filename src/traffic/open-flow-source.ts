import { openBytes } from './byte-source.ts';
import { countName, newCounters } from './counters.ts';
import { CsvSource, isFlowCsv } from './csv-source.ts';
import { TrafficError } from './errors.ts';
import type { FlowSource } from './flow.ts';
import type { MeterOptions } from './flow-meter.ts';
import { PacketSource } from './packet-source.ts';
import { isPcap } from './pcap-reader.ts';
import { isPcapng } from './pcapng-reader.ts';
import { isJsonLines, isZeekTsv, ZeekSource } from './zeek-source.ts';

/**
 * Opens whatever holds traffic, told by its first bytes and never by its name: pcap, pcapng, Zeek conn.log (TSV or
 * JSON) and flow CSV, each plain or gzip; `-` is standard input. `options` are for captures, where we meter.
 * Throws `traffic.source-missing`, `traffic.unknown-format` and `traffic.meter-options-invalid`; reading throws
 * `traffic.missing-column` and `traffic.read-failed`.
 */
export async function openFlowSource(path: string, options: Partial<MeterOptions> = {}): Promise<FlowSource> {
  const counters = newCounters();
  const bytes = await openBytes(path, (code) => countName(counters.malformed, code));
  try {
    if (isPcap(bytes.head) || isPcapng(bytes.head)) return new PacketSource(bytes, options, counters);
    const head = new TextDecoder().decode(bytes.head);
    if (isZeekTsv(head)) return new ZeekSource(bytes, false, counters);
    if (isJsonLines(head)) return new ZeekSource(bytes, true, counters);
    if (isFlowCsv(head)) return new CsvSource(bytes, counters);
    throw unknownFormat(path, bytes.head, counters.malformed['damaged-gzip'] !== undefined);
  } catch (error) {
    bytes.stop();
    throw error;
  }
}

function unknownFormat(path: string, head: Uint8Array, isDamaged: boolean): TrafficError {
  let came = `it begins with ${Buffer.from(head.subarray(0, 8)).toString('hex')}`;
  if (head.length === 0) came = isDamaged ? 'its gzip is damaged' : 'it is empty';
  return new TrafficError(
    'traffic.unknown-format',
    `${path} is no pcap, pcapng, Zeek conn.log (TSV or JSON) or flow CSV, plain or gzip: ${came}`,
  );
}
