import type { Bytes, Milliseconds } from '../../base/index.ts';
import { newCounters } from '../counters.ts';
import type { FlowRecord, SourceCounters } from '../flow.ts';
import { FlowBatch } from '../flow-batch.ts';
import { clearInspected, FlowInspector } from '../inspect/flow-inspector.ts';
import { linkTypeName } from '../link-types.ts';
import type { PcapLayout } from '../pcap-header.ts';
import { INSPECTIONS, KERNEL_BATCH, KERNEL_BYTES, KERNEL_ROWS, MeterKernel, STOP } from './meter-kernel.ts';
import { type MeterOptions, meterOptions } from './meter-options.ts';
import { takeFaults } from './packet-faults.ts';

/** Longest packet that is looked at whole; of a longer one the rest counts, but is not read. */
const MAX_PACKET: Bytes = 1 << 20;
const WORDS_OF_INSPECTION = 4;
const DNS = 1;

/**
 * Packets in, bidirectional flows out. Flows are keyed by the five-tuple and the tunnel they came in; the initiator is
 * the sender of the first packet, or its receiver where that packet is a SYN+ACK (the capture began late). ICMP
 * requests and their replies are one flow.
 *
 * Flows end in traffic time, which never goes back: late packets do not move it, a clock that was set back only moves
 * its base, and a jump forward ends what it should. They are handed out once a second of traffic time in the order
 * they ended, whatever the packets were, so that equal input gives equal output. A flow cut by the active timeout goes
 * on with its direction and TCP state. Memory is bounded by `maxFlows`.
 *
 * The work is done by `kernels/meter.ts`; this is its host. Packets wait in its memory until 128 of them are there or
 * something is asked, and are wiped when they have been metered.
 */
export class FlowMeter {
  readonly #counters: SourceCounters;
  readonly #kernel: MeterKernel;
  readonly #inspector: FlowInspector;
  readonly #maxNamedFlows: number;
  /** The kernel's rows; made anew when its memory moves. */
  #rows: FlowBatch | undefined;
  /** Rows whose measures of names were written. */
  readonly #inspectedRows: number[] = [];
  /** Batches that ended while packets were added one by one. */
  #kept: FlowBatch[] = [];
  #described = 0;
  #stagedEnd: number = KERNEL_BYTES.start;
  #linkName = '';
  /** Unread bytes of the capture and bytes that are not yet wiped begin at `KERNEL_BYTES.start`. */
  #restEnd: number = KERNEL_BYTES.start;
  #dirtyEnd: number = KERNEL_BYTES.start;

  /**
   * `counters` may be shared with the reader of the capture; they are up to date whenever something was asked. Throws
   * `traffic.meter-options-invalid` and `traffic.meter-memory`.
   */
  constructor(options: Partial<MeterOptions> = {}, counters: SourceCounters = newCounters()) {
    const o = meterOptions(options);
    this.#counters = counters;
    this.#kernel = new MeterKernel(o);
    this.#maxNamedFlows = o.maxNamedFlows;
    this.#kernel.functions.setPressed(Number(o.maxNamedFlows <= INSPECTIONS));
    this.#inspector = new FlowInspector(counters.limits, { maxNamedFlows: o.maxNamedFlows });
  }

  get counters(): SourceCounters {
    this.#flush();
    return this.#counters;
  }

  /** Flows that are open now. */
  get openFlows(): number {
    this.#flush();
    return this.#kernel.functions.openFlows();
  }

  /** Meters one packet, whose captured bytes are `packet`. Faults are counted. Throws `traffic.meter-memory`. */
  add(packet: Uint8Array, linkType: number, timeMs: Milliseconds, wireLength: Bytes): void {
    this.addSlice(packet, 0, packet.length, linkType, timeMs, wireLength);
  }

  /** Like `add` for the packet in `bytes[offset, end)`, which is only read during the call. */
  addSlice(
    bytes: Uint8Array,
    offset: number,
    end: number,
    linkType: number,
    timeMs: Milliseconds,
    wireLength: Bytes,
  ): void {
    const captured = Math.min(end - offset, MAX_PACKET);
    const linkName = linkTypeName(linkType);
    const isFull = this.#described === KERNEL_BATCH || this.#stagedEnd + captured > KERNEL_BYTES.end;
    if (isFull || (linkName !== this.#linkName && this.#described > 0)) this.#flush();
    this.#linkName = linkName;
    this.#kernel.views.bytes.set(bytes.subarray(offset, offset + captured), this.#stagedEnd);
    const wire = Math.min(Math.max(wireLength, end - offset), 0xffffffff);
    this.#kernel.describe(this.#described, timeMs, this.#stagedEnd, captured, wire, linkType);
    this.#described++;
    this.#stagedEnd += captured;
  }

  /** Moves traffic time as a packet of that time would. */
  advance(nowMs: Milliseconds): void {
    this.#flush();
    this.#kernel.functions.advance(nowMs);
    this.#count();
  }

  /** Flows that were handed out since the last call, as batches that hold until the next one is asked for. */
  *batches(): Generator<FlowBatch> {
    this.#flush();
    const kept = this.#kept;
    this.#kept = [];
    yield* kept;
    yield* this.#waiting();
  }

  /** Ends every open flow; they are handed out by `batches` or `drain`. Bytes of packets are wiped. */
  end(): void {
    this.#flush();
    this.#kernel.functions.finish();
    this.#count();
    this.wipe();
  }

  /** What `batches` would give, as records. */
  drain(): FlowRecord[] {
    const records: FlowRecord[] = [];
    for (const batch of this.batches()) records.push(...batch.records());
    return records;
  }

  /** `end` and `drain`. */
  finish(): FlowRecord[] {
    this.end();
    return this.drain();
  }

  /** Room for the next `length` bytes of a capture, behind those that were not read yet; 0 < length <= 1 MiB. */
  room(length: Bytes): Uint8Array<ArrayBuffer> {
    return this.#kernel.views.bytes.subarray(this.#restEnd, this.#restEnd + length);
  }

  /**
   * Meters the records of a classic capture that are complete with the `length` bytes that were written to `room`.
   * What is unread is kept. Returns, after the batches, false where a record cannot be.
   */
  *capture(length: Bytes, layout: PcapLayout): Generator<FlowBatch, boolean> {
    this.#flush();
    const { functions } = this.#kernel;
    const { start } = KERNEL_BYTES;
    const end = this.#restEnd + length;
    if (end < this.#dirtyEnd) this.#kernel.views.bytes.fill(0, end, this.#dirtyEnd);
    this.#linkName = linkTypeName(layout.linkType);
    const { isLittle, unitsPerMs, recordHeader, linkType } = layout;
    functions.setCapture(Number(!isLittle), unitsPerMs, recordHeader, linkType);
    let stop: number = functions.meterCapture(start, end);
    for (;;) {
      this.#inspect();
      this.#count();
      if (stop === STOP.flowsReady) yield* this.#waiting();
      else if (stop !== STOP.inspectFull) break;
      stop = functions.meterCapture(functions.unread(), end);
    }
    this.#kernel.check(stop);
    const { bytes } = this.#kernel.views;
    const unread = functions.unread();
    bytes.copyWithin(start, unread, end);
    this.#restEnd = start + (end - unread);
    this.#dirtyEnd = end;
    yield* this.#waiting();
    return stop !== STOP.oversized;
  }

  /** Bytes of a capture that were not read, in the kernel's memory. */
  get unread(): Uint8Array<ArrayBuffer> {
    return this.#kernel.views.bytes.subarray(KERNEL_BYTES.start, this.#restEnd);
  }

  /** Keeps the `length` bytes that were written to `room`, unread. */
  hold(length: Bytes): void {
    this.#restEnd += length;
  }

  /** Takes `length` bytes off the front of those that were not read. */
  skip(length: Bytes): void {
    const { start } = KERNEL_BYTES;
    this.#dirtyEnd = Math.max(this.#dirtyEnd, this.#restEnd);
    this.#kernel.views.bytes.copyWithin(start, start + length, this.#restEnd);
    this.#restEnd -= length;
  }

  /** Zeroes every byte of packets that is still held. */
  wipe(): void {
    const { start } = KERNEL_BYTES;
    const end = Math.max(this.#dirtyEnd, this.#restEnd, this.#stagedEnd);
    this.#kernel.views.bytes.fill(0, start, end);
    this.#inspector.wipe();
    this.#restEnd = start;
    this.#dirtyEnd = start;
  }

  /** Meters the packets that wait. */
  #flush(): void {
    if (this.#described === 0) return;
    const { functions } = this.#kernel;
    let stop = this.#kernel.check(functions.meterDescribed(this.#described));
    this.#described = 0;
    for (;;) {
      this.#inspect();
      this.#count();
      if (stop === STOP.flowsReady) for (const batch of this.#waiting()) this.#kept.push(copyOf(batch));
      else if (stop !== STOP.inspectFull) break;
      stop = this.#kernel.check(functions.meterDescribed(0));
    }
    this.#kernel.views.bytes.fill(0, KERNEL_BYTES.start, this.#stagedEnd);
    this.#stagedEnd = KERNEL_BYTES.start;
  }

  /** Has the waiting flows written into the kernel's rows. */
  *#waiting(): Generator<FlowBatch> {
    const { functions } = this.#kernel;
    while (functions.waiting() > 0) {
      for (const row of this.#inspectedRows) clearInspected(this.#kernel.views.numbers, row, KERNEL_ROWS);
      this.#inspectedRows.length = 0;
      const rows = functions.writeRows();
      const { rowSequence, identity, numbers } = this.#kernel.views;
      if (this.#rows?.numbers !== numbers) {
        this.#rows = new FlowBatch('packets', KERNEL_ROWS, { identity, numbers });
      }
      const batch = this.#rows;
      batch.names.clear();
      batch.rows = rows;
      for (let row = 0; row < rows; row++) {
        const sequence = rowSequence[row]!;
        if (sequence === 0) continue;
        const names = this.#inspector.takeInto(sequence, numbers, row, KERNEL_ROWS);
        this.#inspectedRows.push(row);
        if (names !== undefined) batch.names.set(row, names);
      }
      yield batch;
    }
  }

  /** Reads the messages that the kernel noted while their bytes are there. */
  #inspect(): void {
    const count = this.#kernel.functions.takeInspections();
    if (count === 0) return;
    const { inspections, bytes } = this.#kernel.views;
    for (let at = 0; at < count * WORDS_OF_INSPECTION; at += WORDS_OF_INSPECTION) {
      const flow = inspections[at]!;
      const kind = inspections[at + 1]!;
      const start = inspections[at + 2]!;
      const end = inspections[at + 3]!;
      if ((kind & 255) === DNS) this.#inspector.dns(flow, bytes, start, end);
      else this.#inspector.tls(flow, bytes, start, end);
    }
    // Far from the limit on names it does not matter when those of ended flows are taken.
    this.#kernel.functions.setPressed(Number(this.#inspector.size + INSPECTIONS >= this.#maxNamedFlows));
  }

  /** Moves the kernel's counts into the counters. */
  #count(): void {
    const { totals, faults } = this.#kernel.views;
    const counters = this.#counters;
    counters.packets += totals[0]!;
    counters.bytes += totals[1]!;
    counters.flows += totals[2]!;
    counters.fragments += totals[3]!;
    const evicted = totals[4]!;
    counters.evicted += evicted;
    if (evicted > 0) counters.limits.flows = (counters.limits.flows ?? 0) + evicted;
    totals.fill(0);
    takeFaults(faults, counters, this.#linkName);
  }
}

function copyOf(batch: FlowBatch): FlowBatch {
  const { identity, numbers } = batch;
  const copy = new FlowBatch(batch.sourceKind, batch.capacity, {
    identity: identity.slice(),
    numbers: numbers.slice(),
  });
  copy.rows = batch.rows;
  for (const [row, names] of batch.names) copy.names.set(row, names);
  return copy;
}
