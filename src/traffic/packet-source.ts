import { closeSync, openSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Clock, Milliseconds } from '../base/index.ts';
import { systemClock } from '../base/index.ts';
import type { ByteSource } from './byte-source.ts';
import type { FaultSink } from './capture-reader.ts';
import { countName } from './counters.ts';
import { TrafficError } from './errors.ts';
import type { SourceCounters } from './flow.ts';
import type { FlowBatch } from './flow-batch.ts';
import type { FlowSource } from './flow-source.ts';
import type { CaptureRecord } from './live/capture-record.ts';
import { FlowMeter } from './meter/flow-meter.ts';
import type { MeterOptions } from './meter/meter-options.ts';
import { PcapCapture } from './meter/pcap-capture.ts';
import { isPcapng, PcapngReader } from './pcapng-reader.ts';
import { stopAtAbort } from './until-aborted.ts';

/** Reads of a file between which other work has its turn: about a millisecond of it. */
const READS_OF_A_TURN = 4;

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
 * follows the clock, so that flows end. Where reading fails, the flows so far are handed out before the error. Bytes
 * of packets are wiped from memory of our own when they have been metered. A classic pcap that is a file of its own
 * is read straight into the meter's memory.
 */
export class PacketSource implements FlowSource {
  readonly kind = 'packets';
  readonly #bytes: ByteSource;
  readonly #meter: FlowMeter;
  readonly #capture: PcapCapture | undefined;
  readonly #reader: PcapngReader | undefined;
  readonly #record: CaptureRecord | undefined;
  readonly #clock: Clock;

  constructor(bytes: ByteSource, options: PacketSourceOptions, counters: SourceCounters) {
    this.#bytes = bytes;
    this.#record = options.record;
    this.#clock = options.clock ?? systemClock;
    const meter = new FlowMeter(options.meter, counters);
    const fault: FaultSink = (code) => countName(counters.malformed, code);
    this.#meter = meter;
    if (isPcapng(bytes.head)) {
      this.#reader = new PcapngReader(
        (b, offset, end, linkType, timeMs, wireLength) =>
          meter.addSlice(b, offset, end, linkType, timeMs, wireLength),
        fault,
      );
    } else {
      this.#capture = new PcapCapture(meter, fault);
    }
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  get counters(): SourceCounters {
    return this.#meter.counters;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    try {
      yield* stopAtAbort(this.#bytes, this.#read(signal), signal);
    } finally {
      this.#reader?.wipe();
      this.#meter.wipe();
      await this.#record?.close();
    }
  }

  /** To the end of the bytes, then the flows that are open. */
  async *#read(signal: AbortSignal | undefined): AsyncGenerator<FlowBatch> {
    let failure: unknown;
    try {
      const { file } = this.#bytes;
      const isDirect = file !== undefined && this.#capture !== undefined && this.#record === undefined;
      yield* isDirect ? this.#readFile(file, this.#capture, signal) : this.#readChunks(signal);
    } catch (error) {
      failure = error;
    }
    this.#meter.end();
    yield* this.#meter.batches();
    if (failure !== undefined) throw failure;
  }

  /** Meters a file. */
  async *#readFile(
    path: string,
    capture: PcapCapture,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<FlowBatch> {
    const file = openSync(path, 'r');
    try {
      for (let reads = 1; signal?.aborted !== true; reads++) {
        const { room } = capture;
        const length = readSync(file, room, 0, room.length, null);
        if (length === 0) {
          capture.end();
          return;
        }
        if (!(yield* capture.take(length))) return;
        if (reads % READS_OF_A_TURN === 0) await setImmediate();
      }
    } catch (cause) {
      if (cause instanceof TrafficError) throw cause;
      const { code } = cause as NodeJS.ErrnoException;
      throw new TrafficError('traffic.read-failed', `reading ${path} failed (${code})`, { cause });
    } finally {
      closeSync(file);
    }
  }

  async *#readChunks(signal: AbortSignal | undefined): AsyncGenerator<FlowBatch> {
    for await (const chunk of this.#bytes.chunks) {
      if (signal?.aborted === true && this.#bytes.lingers !== true) break;
      const canGoOn = yield* this.#take(chunk);
      await this.#record?.write(chunk);
      if (!canGoOn) return;
    }
    if (signal?.aborted === true) return;
    this.#capture?.end();
    this.#reader?.end();
  }

  /** False when nothing that follows can be read. */
  *#take(chunk: Uint8Array<ArrayBuffer>): Generator<FlowBatch, boolean> {
    if (chunk.length === 0) {
      this.#meter.advance(this.#clock.now() - LATENESS);
      yield* this.#meter.batches();
      return true;
    }
    const capture = this.#capture;
    if (capture === undefined) {
      const canGoOn = this.#reader?.push(chunk) ?? false;
      yield* this.#meter.batches();
      return canGoOn;
    }
    for (let from = 0; from < chunk.length; ) {
      const { room } = capture;
      const piece = chunk.subarray(from, from + room.length);
      room.set(piece);
      if (!(yield* capture.take(piece.length))) return false;
      from += piece.length;
    }
    return true;
  }
}
