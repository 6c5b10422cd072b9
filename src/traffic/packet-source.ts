import type { Clock, Milliseconds } from '../base/index.ts';
import { systemClock } from '../base/index.ts';
import type { ByteSource } from './byte-source.ts';
import type { CaptureReader, FaultSink, PacketSink } from './capture-reader.ts';
import { countName } from './counters.ts';
import type { FlowRecord, FlowSource, SourceCounters } from './flow.ts';
import { FlowBatch } from './flow-batch.ts';
import { FlowMeter, type MeterOptions } from './flow-meter.ts';
import type { CaptureRecord } from './live/capture-record.ts';
import { PcapReader } from './pcap-reader.ts';
import { isPcapng, PcapngReader } from './pcapng-reader.ts';

/** Flows handed out at once, at most. */
const BATCH = 4096;

/** Live packets are this late at most: what tcpdump and the kernel hold back while the wire is silent. */
const LATENESS: Milliseconds = 2_000;

export interface PacketSourceOptions {
  readonly meter: Partial<MeterOptions>;
  /** Gets the bytes of the capture, when they have been metered. Closed at the end. */
  readonly record?: CaptureRecord | undefined;
  /** Of the packets of a live capture. */
  readonly clock?: Clock;
}

/**
 * A capture, metered into flows while it is read. An empty chunk says that the wire is silent: traffic time then
 * follows the clock, so that flows end. Where reading fails, the flows so far are handed out before the error.
 */
export class PacketSource implements FlowSource {
  readonly kind = 'packets';
  readonly #bytes: ByteSource;
  readonly #meter: FlowMeter;
  readonly #reader: CaptureReader;

  readonly #record: CaptureRecord | undefined;
  readonly #clock: Clock;

  constructor(bytes: ByteSource, options: PacketSourceOptions, counters: SourceCounters) {
    this.#bytes = bytes;
    this.#record = options.record;
    this.#clock = options.clock ?? systemClock;
    const meter = new FlowMeter(options.meter, counters);
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
    let failure: unknown;
    try {
      try {
        for await (const chunk of this.#bytes.chunks) {
          if (signal?.aborted === true && this.#bytes.lingers !== true) break;
          const canGoOn = await this.#take(chunk);
          yield* slices(this.#meter.drain());
          if (!canGoOn) break;
        }
        if (signal?.aborted !== true) this.#reader.end();
      } catch (error) {
        failure = error;
      }
      yield* slices(this.#meter.finish());
      if (failure !== undefined) throw failure;
    } finally {
      signal?.removeEventListener('abort', stop);
      stop();
      await this.#record?.close();
    }
  }

  /** False when nothing that follows can be read. */
  async #take(chunk: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if (chunk.length === 0) {
      const meter: FlowMeter & { advance?(nowMs: Milliseconds): void } = this.#meter;
      meter.advance?.(this.#clock.now() - LATENESS);
      return true;
    }
    const canGoOn = this.#reader.push(chunk);
    await this.#record?.write(chunk);
    return canGoOn;
  }
}

function* slices(flows: readonly FlowRecord[]): Generator<FlowBatch> {
  for (let from = 0; from < flows.length; from += BATCH)
    yield FlowBatch.from(flows.slice(from, from + BATCH), 'packets');
}
