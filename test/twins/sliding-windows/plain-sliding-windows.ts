import { hashAddress, mixWord } from '../../../src/features/fixed-hash.ts';
import { hasFailed, serviceKey } from '../../../src/features/flow-classes.ts';
import type { SlidingWindowLimits } from '../../../src/features/schema.ts';
import { SLIDING_WINDOW_COLUMNS } from '../../../src/features/sliding-windows.ts';
import {
  FLOW_NUMBER_INDEX as AT,
  type FlowBatch,
  IDENTITY,
  IDENTITY_WORDS,
} from '../../../src/traffic/index.ts';
import { ClockTable } from './clock-table.ts';
import { PairIntervals } from './pair-intervals.ts';
import { SketchPool } from './sketch-pool.ts';
import { bucketOf } from './window-buckets.ts';
import { WindowRecords } from './window-records.ts';

const LONG = 3;
const FIRST_SET = 7;
const OF_SOURCE = 0;
const OF_DESTINATION = SLIDING_WINDOW_COLUMNS.indexOf('dst_flows_short');
const OF_SERVICE = SLIDING_WINDOW_COLUMNS.indexOf('srv_flows_short');
const OF_PAIR = SLIDING_WINDOW_COLUMNS.indexOf('pair_flows_short');
const OF_DESTINATION_SERVICE = SLIDING_WINDOW_COLUMNS.indexOf('dst_srv_flows_short');
const OF_INTERVALS = SLIDING_WINDOW_COLUMNS.indexOf('pair_interval_mean');

/** The sliding windows in plain arrays, one flow after the other: what `kernels/windows.ts` must give to the bit. */
export class PlainSlidingWindows {
  readonly #bucketMs: number;
  readonly #sketches: SketchPool;
  readonly #sources: ClockTable;
  readonly #destinations: ClockTable;
  readonly #services: ClockTable;
  readonly #pairs: ClockTable;
  readonly #destinationServices: ClockTable;
  readonly #ofSource: WindowRecords;
  readonly #ofDestination: WindowRecords;
  readonly #ofService: WindowRecords;
  readonly #ofPair: WindowRecords;
  readonly #ofDestinationService: WindowRecords;
  readonly #intervals: PairIntervals;
  readonly #bytes = new Float64Array(2);

  constructor(limits: SlidingWindowLimits) {
    const sketches = new SketchPool(limits.sketches);
    this.#bucketMs = limits.bucketMs;
    this.#sketches = sketches;
    this.#sources = new ClockTable(limits.hosts);
    this.#destinations = new ClockTable(limits.hosts);
    this.#services = new ClockTable(limits.services);
    this.#pairs = new ClockTable(limits.pairs);
    this.#destinationServices = new ClockTable(limits.destinationServices);
    this.#ofSource = new WindowRecords(2, sketches);
    this.#ofDestination = new WindowRecords(2, sketches);
    this.#ofService = new WindowRecords(2, sketches);
    this.#ofPair = new WindowRecords(1, sketches);
    this.#ofDestinationService = new WindowRecords(1, sketches);
    this.#intervals = new PairIntervals();
  }

  get remembered(): number {
    return this.#tables.reduce((sum, { size }) => sum + size, 0);
  }

  get forgotten(): number {
    return this.#tables.reduce((sum, { replaced }) => sum + replaced, 0);
  }

  /** Sketches in use, and values left out because there was none. */
  get sketches(): { readonly used: number; readonly refused: number } {
    return { used: this.#sketches.used, refused: this.#sketches.refused };
  }

  /** Remembers a row of a batch and writes its values, the first at `cells[at]`, the others `stride` apart. */
  add(batch: FlowBatch, row: number, cells: Float64Array, at: number, stride: number): void {
    const { identity, numbers, capacity } = batch;
    const id = row * IDENTITY_WORDS;
    const s = id + IDENTITY.source;
    const d = id + IDENTITY.destination;
    const kind = identity[id + IDENTITY.kind] as number;
    const protocol = kind & 255;
    const version = (kind >>> 8) & 255;
    const service = serviceKey(protocol, (identity[id + IDENTITY.ports] as number) & 0xffff);
    const failed = hasFailed(protocol, (identity[id + IDENTITY.outcome] as number) & 255);
    const start = AT.start_ms * capacity + row;
    const bucket = bucketOf(numbers, start, this.#bucketMs);
    const bytes = this.#bytes;
    bytes[0] = numbers[AT.forward_bytes * capacity + row] as number;
    bytes[1] = numbers[AT.backward_bytes * capacity + row] as number;
    const s0 = (identity[s] as number) | 0;
    const s1 = (identity[s + 1] as number) | 0;
    const s2 = (identity[s + 2] as number) | 0;
    const s3 = (identity[s + 3] as number) | 0;
    const d0 = (identity[d] as number) | 0;
    const d1 = (identity[d + 1] as number) | 0;
    const d2 = (identity[d + 2] as number) | 0;
    const d3 = (identity[d + 3] as number) | 0;
    const sourceHash = hashAddress(s0, s1, s2, s3, version);
    const destinationHash = hashAddress(d0, d1, d2, d3, version);
    const serviceHash = mixWord(service);

    const source = this.#sources.acquire(s0, s1, s2, s3, version);
    const ofSource = this.#ofSource;
    ofSource.count(source, this.#sources.isNew, bucket, failed, bytes);
    writeCounts(ofSource, cells, at + OF_SOURCE * stride, stride);
    writeSet(ofSource, 0, destinationHash, cells, at + (OF_SOURCE + FIRST_SET) * stride, stride);
    writeSet(ofSource, 1, serviceHash, cells, at + (OF_SOURCE + FIRST_SET + 2) * stride, stride);

    const destination = this.#destinations.acquire(d0, d1, d2, d3, version);
    const ofDestination = this.#ofDestination;
    ofDestination.count(destination, this.#destinations.isNew, bucket, failed, bytes);
    writeCounts(ofDestination, cells, at + OF_DESTINATION * stride, stride);
    writeSet(ofDestination, 0, sourceHash, cells, at + (OF_DESTINATION + FIRST_SET) * stride, stride);
    writeSet(ofDestination, 1, serviceHash, cells, at + (OF_DESTINATION + FIRST_SET + 2) * stride, stride);

    const slot = this.#services.acquire(service, 0, 0, 0, 0);
    const ofService = this.#ofService;
    ofService.count(slot, this.#services.isNew, bucket, failed, bytes);
    writeCounts(ofService, cells, at + OF_SERVICE * stride, stride);
    writeSet(ofService, 0, sourceHash, cells, at + (OF_SERVICE + FIRST_SET) * stride, stride);
    writeSet(ofService, 1, destinationHash, cells, at + (OF_SERVICE + FIRST_SET + 2) * stride, stride);

    const sourceLife = this.#sources.lifeOf(source);
    const destinationLife = this.#destinations.lifeOf(destination);
    const pair = this.#pairs.acquire(sourceLife, 0, 0, 0, destinationLife);
    const ofPair = this.#ofPair;
    ofPair.count(pair, this.#pairs.isNew, bucket, failed, bytes);
    writeCounts(ofPair, cells, at + OF_PAIR * stride, stride);
    writeSet(ofPair, 0, serviceHash, cells, at + (OF_PAIR + FIRST_SET) * stride, stride);
    this.#intervals.add(pair, this.#pairs.isNew, numbers, start, cells, at + OF_INTERVALS * stride, stride);

    const both = this.#destinationServices.acquire(destinationLife, 0, 0, 0, service);
    const ofBoth = this.#ofDestinationService;
    ofBoth.count(both, this.#destinationServices.isNew, bucket, failed, bytes);
    writeCounts(ofBoth, cells, at + OF_DESTINATION_SERVICE * stride, stride);
    writeSet(ofBoth, 0, sourceHash, cells, at + (OF_DESTINATION_SERVICE + FIRST_SET) * stride, stride);
  }

  get #tables(): readonly ClockTable[] {
    return [this.#sources, this.#destinations, this.#services, this.#pairs, this.#destinationServices];
  }
}

function writeCounts(records: WindowRecords, cells: Float64Array, at: number, stride: number): void {
  records.writeShort(cells, at, stride);
  records.writeLong(cells, at + LONG * stride, stride);
}

function writeSet(
  records: WindowRecords,
  set: number,
  value: number,
  cells: Float64Array,
  at: number,
  stride: number,
): void {
  records.addDistinct(set, value, cells, at, at + stride);
}
