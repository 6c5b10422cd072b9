import type { ByteSource } from './byte-source.ts';
import type { CaptureReader, FaultSink, PacketSink } from './capture-reader.ts';
import { countName } from './counters.ts';
import type { FlowRecord, FlowSource, SourceCounters } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import { FlowMeter, type MeterOptions } from './flow-meter.ts';
import { PcapReader } from './pcap-reader.ts';
import { isPcapng, PcapngReader } from './pcapng-reader.ts';

/** Flows handed out at once, at most. */
const BATCH = 4096;

/** A capture, metered into flows while it is read. */
export class PacketSource implements FlowSource {
  readonly kind = 'packets';
  readonly #bytes: ByteSource;
  readonly #meter: FlowMeter;
  readonly #reader: CaptureReader;

  constructor(bytes: ByteSource, options: Partial<MeterOptions>, counters: SourceCounters) {
    this.#bytes = bytes;
    const meter = new FlowMeter(options, counters);
    const packet: PacketSink = (b, offset, end, linkType, timeMs, wireLength) =>
      meter.addSlice(b, offset, end, linkType, timeMs, wireLength);
    const fault: FaultSink = (code) => countName(meter.counters.malformed, code);
    this.#meter = meter;
    this.#reader = isPcapng(bytes.head) ? new PcapngReader(packet, fault) : new PcapReader(packet, fault);
  }

  get counters(): SourceCounters {
    return this.#meter.counters;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    const stop = () => this.#bytes.stop();
    signal?.addEventListener('abort', stop);
    try {
      for await (const chunk of this.#bytes.chunks) {
        if (signal?.aborted === true) break;
        const canGoOn = this.#reader.push(chunk);
        yield* slices(this.#meter.drain());
        if (!canGoOn) break;
      }
      if (signal?.aborted !== true) this.#reader.end();
      yield* slices(this.#meter.finish());
    } finally {
      signal?.removeEventListener('abort', stop);
      stop();
    }
  }
}

function* slices(flows: readonly FlowRecord[]): Generator<FlowBatch> {
  for (let from = 0; from < flows.length; from += BATCH)
    yield FlowBatch.from(flows.slice(from, from + BATCH), 'packets');
}
