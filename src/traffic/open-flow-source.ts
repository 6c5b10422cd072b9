import { stat } from 'node:fs/promises';
import type { Clock, Milliseconds } from '../base/index.ts';
import { BinetflowSource, isBinetflow } from './binetflow-source.ts';
import { type ByteSource, openBytes } from './byte-source.ts';
import { countName, newCounters } from './counters.ts';
import { CsvSource, isFlowCsv } from './csv-source.ts';
import { TrafficError } from './errors.ts';
import { EveSource, isEve } from './eve/eve-source.ts';
import type { SourceCounters } from './flow.ts';
import { FlowJsonSource, isFlowJsonLines } from './flow-jsonl.ts';
import type { FlowSource } from './flow-source.ts';
import { FOLLOW_DEFAULTS, openFollowed } from './follow-file.ts';
import { openCaptureFolder } from './live/capture-folder.ts';
import { CaptureRecord, type RecordOptions } from './live/capture-record.ts';
import { interfaceNames, LIVE_PREFIX, namedInterface } from './live/interfaces.ts';
import { type LiveOptions, openInterface } from './live/live-bytes.ts';
import type { MeterOptions } from './meter/meter-options.ts';
import { isCollectorAddress } from './netflow/collector-address.ts';
import { type CollectorOptions, openCollector } from './netflow/netflow-source.ts';
import { PacketSource } from './packet-source.ts';
import { isParquet } from './parquet/parquet-limits.ts';
import { ParquetSource } from './parquet/parquet-source.ts';
import { isPcap } from './pcap-header.ts';
import { isPcapng } from './pcapng-reader.ts';
import { isJsonLines, isZeekJson, isZeekTsv, ZeekSource } from './zeek/zeek-source.ts';

/** How a source is opened; the options of the meter are for captures, where we meter. */
export interface SourceOptions extends MeterOptions {
  /** What a live capture is given beside its interface. */
  readonly live: Partial<LiveOptions>;
  /** Where the packets are written as they came. */
  readonly record: Partial<RecordOptions> & Pick<RecordOptions, 'path'>;
  /** Reads on at the end of the file, also across its rotation, until the signal aborts. */
  readonly follow: boolean;
  /** How often a followed file is looked at. */
  readonly pollMs: Milliseconds;
  /** Ends the wait for the beginning of a followed file, and the following. */
  readonly signal: AbortSignal;
  /** What a collector of NetFlow or IPFIX is given beside its address. */
  readonly collector: Partial<CollectorOptions>;
  readonly clock: Clock;
  /** The content, where it is not what lies at the path: decrypted, say. Read once, from beginning to end. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/**
 * Opens whatever holds traffic, told by its first bytes and never by its name: pcap, pcapng, Zeek conn.log, dns.log
 * and ssl.log (TSV or JSON), Suricata EVE, Argus binetflow, flows as CSV or JSON lines, each plain or gzip, and flows
 * as Parquet; `-` is standard input. A network interface, where no file has its name or spelled `live:NAME`, is
 * captured by tcpdump; `netflow://ADDRESS:PORT` and `ipfix://ADDRESS:PORT` listen for exporters (see
 * `parseCollectorAddress`).
 *
 * Throws `traffic.source-missing`, `traffic.unknown-format`, `traffic.meter-options-invalid`, what `openInterface` and
 * `openCollector` throw,
 * and where packets are recorded `traffic.record-exists`, `-failed` and `-unsupported`; reading throws
 * `traffic.missing-column` and `traffic.read-failed`.
 */
export async function openFlowSource(
  source: string,
  options: Partial<SourceOptions> = {},
): Promise<FlowSource> {
  const { bytes: given } = options;
  if (given === undefined && isCollectorAddress(source)) {
    if (options.record !== undefined) throw noPackets(source);
    return await openCollector(source, options.collector);
  }
  const counters = newCounters();
  const live = given === undefined ? await liveInterface(source) : undefined;
  if (live !== undefined) {
    // The file first: packets are not asked for before there is a place for them.
    const record = await openRecord(options, counters);
    try {
      const bytes = await openInterface(live, counters.lost, options.live);
      return packetSource(bytes, options, counters, record);
    } catch (error) {
      await record?.discard();
      throw error;
    }
  }
  if (given === undefined && (await isFolder(source))) {
    const bytes = await openCaptureFolder(source, {
      follow: options.follow === true,
      pollMs: options.pollMs ?? FOLLOW_DEFAULTS.pollMs,
      onFault: (code) => countName(counters.malformed, code),
    });
    return packetSource(bytes, options, counters, await openRecord(options, counters));
  }
  const onEvent = (code: string) => countName(counters.ignored, code);
  const opening =
    options.follow === true && given === undefined
      ? openFollowed(source, { onEvent, ...followOptions(options) })
      : openBytes(given ?? source, (code) => countName(counters.malformed, code));
  const bytes = await opening.catch((error) => {
    throw withInterfaces(source, error);
  });
  try {
    if (isPcap(bytes.head) || isPcapng(bytes.head)) {
      return packetSource(bytes, options, counters, await openRecord(options, counters));
    }
    if (options.record !== undefined) throw noPackets(source);
    if (isParquet(bytes.head)) {
      if (given !== undefined) return await ParquetSource.of(bytes.chunks, source, counters);
      bytes.stop();
      // Read from its end, so by its name.
      if (source === '-') {
        throw new TrafficError(
          'traffic.unknown-format',
          'Parquet is read from its end: expected a file, not a pipe',
        );
      }
      return await ParquetSource.open(source, counters);
    }
    const head = new TextDecoder().decode(bytes.head);
    if (isZeekTsv(head)) return new ZeekSource(bytes, false, counters);
    if (isEve(head)) return new EveSource(bytes, counters);
    if (isFlowJsonLines(head)) return new FlowJsonSource(bytes, counters);
    if (isJsonLines(head)) return new ZeekSource(bytes, true, counters);
    if (isBinetflow(head)) return new BinetflowSource(bytes, counters);
    if (isFlowCsv(head)) return new CsvSource(bytes, counters);
    throw unknownFormat(source, bytes.head, counters.malformed['damaged-gzip'] !== undefined);
  } catch (error) {
    bytes.stop();
    throw error;
  }
}

/** Whether a text that begins with `head` is what a sensor logs, line by line: Zeek, Suricata EVE, or flows as `guardian extract` writes them. */
export function isSensorLog(head: string): boolean {
  return isZeekTsv(head) || isEve(head) || isFlowJsonLines(head) || isZeekJson(head);
}

function followOptions({ pollMs, signal }: Partial<SourceOptions>) {
  return { ...(pollMs !== undefined && { pollMs }), ...(signal !== undefined && { signal }) };
}

async function isFolder(source: string): Promise<boolean> {
  return await stat(source).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** The interface a source means; a file of that name wins over a bare one. */
async function liveInterface(source: string): Promise<string | undefined> {
  if (source.startsWith(LIVE_PREFIX)) return namedInterface(source);
  const isFile = await stat(source).then(
    () => true,
    () => false,
  );
  return isFile ? undefined : namedInterface(source);
}

function packetSource(
  bytes: ByteSource,
  options: Partial<SourceOptions>,
  counters: SourceCounters,
  record: CaptureRecord | undefined,
): PacketSource {
  const { clock } = options;
  return new PacketSource(bytes, { meter: options, record, ...(clock && { clock }) }, counters);
}

async function openRecord(
  { record }: Partial<SourceOptions>,
  { lost }: SourceCounters,
): Promise<CaptureRecord | undefined> {
  return record === undefined ? undefined : await CaptureRecord.open(record, lost);
}

/** A bare word that is no file may have been meant as an interface. */
function withInterfaces(source: string, error: unknown): unknown {
  const isMissing = error instanceof TrafficError && error.code === 'traffic.source-missing';
  if (!isMissing || !/^[\w.@-]{1,15}$/.test(source) || !/does not exist/.test(error.message)) return error;
  return new TrafficError(
    'traffic.source-missing',
    `${error.message}, and is no interface: there are ${interfaceNames().join(', ')}`,
    { cause: error },
  );
}

function noPackets(source: string): TrafficError {
  return new TrafficError(
    'traffic.record-unsupported',
    `${source} is no capture: it has no packets to record`,
  );
}

function unknownFormat(path: string, head: Uint8Array, isDamaged: boolean): TrafficError {
  let came = `it begins with ${Buffer.from(head.subarray(0, 8)).toString('hex')}`;
  if (head.length === 0) came = isDamaged ? 'its gzip is damaged' : 'it is empty';
  return new TrafficError(
    'traffic.unknown-format',
    `${path} is no pcap, pcapng, Zeek conn.log, dns.log or ssl.log (TSV or JSON), Suricata EVE, Argus binetflow, nor flows as CSV, JSON lines or Parquet: ${came}`,
  );
}
