import { FLOW_NUMBER_INDEX as AT, type FlowBatch, IDENTITY, IDENTITY_WORDS } from '../traffic/index.ts';
import { hasFailed, serviceKey } from './flow-classes.ts';
import { KeyTable } from './key-table.ts';

/**
 * Where the fields of an entry lie. What the windows read of an entry fills one cache line of 64 bytes, since
 * walking a chain jumps through memory: entry e has its numbers from `numbers[e * 8]` and its links from
 * `links[e * 16]`, two views of the same bytes.
 */
export const NUMBERS = { stride: 8, start: 0, end: 1, outBytes: 2, inBytes: 3 } as const;
export const LINKS = {
  stride: 16,
  previousOfSource: 8,
  previousOfDestination: 9,
  previousOfPair: 10,
  previousOfChannel: 11,
  service: 12,
  failed: 13,
  source: 14,
  destination: 15,
} as const;

const ENTRY_BYTES = 64;

/**
 * The last `capacity` flows, in typed arrays made once, in a ring. Each flow is chained to the one before it of
 * the same source, destination, pair, and channel (pair, protocol and responder's port), so one memory bound
 * covers all keys and a flood of new keys can only push out what is older than `capacity` flows.
 *
 * A chain is walked by `previousOf...`, newest first, for at most `held...` entries: what lies beyond has been
 * overwritten.
 */
export class FlowHistory {
  readonly capacity: number;
  /** Flows remembered now. */
  size = 0;
  /** Flows pushed out so far. */
  forgotten = 0;
  /** Start, end (never before the start) and bytes of each direction. NaN where the source did not report it. */
  readonly numbers: Float64Array;
  /** Chains, service key, 1 where the connection did not come about, and the slots of both addresses. */
  readonly links: Int32Array;
  /** Packets of the initiator and the responder, 2 an entry. */
  readonly packets: Float64Array;
  readonly #pair: Int32Array;
  readonly #channel: Int32Array;
  readonly #sources: KeyTable;
  readonly #destinations: KeyTable;
  readonly #pairs: KeyTable;
  readonly #channels: KeyTable;
  #next = 0;

  constructor(capacity: number) {
    const entries = new ArrayBuffer(capacity * ENTRY_BYTES);
    this.capacity = capacity;
    this.numbers = new Float64Array(entries);
    this.links = new Int32Array(entries);
    this.packets = new Float64Array(capacity * 2);
    this.#pair = new Int32Array(capacity);
    this.#channel = new Int32Array(capacity);
    this.#sources = new KeyTable(capacity);
    this.#destinations = new KeyTable(capacity);
    this.#pairs = new KeyTable(capacity);
    this.#channels = new KeyTable(capacity);
  }

  /** Remembers a flow, forgetting the oldest where the ring is full. Returns its entry. */
  push({ identity, numbers: given, capacity }: FlowBatch, row: number): number {
    const entry = this.#next;
    this.#next = entry + 1 === this.capacity ? 0 : entry + 1;
    if (this.size === this.capacity) this.#forget(entry);
    else this.size++;
    const { numbers, links, packets } = this;
    const n = entry * NUMBERS.stride;
    const l = entry * LINKS.stride;
    const id = row * IDENTITY_WORDS;
    const kind = identity[id + IDENTITY.kind] as number;
    const protocol = kind & 255;
    const version = (kind >>> 8) & 255;
    const service = serviceKey(protocol, (identity[id + IDENTITY.ports] as number) & 0xffff);
    const start = given[AT.start_ms * capacity + row] as number;
    numbers[n + NUMBERS.start] = start;
    numbers[n + NUMBERS.end] = Math.max(start, given[AT.end_ms * capacity + row] as number);
    numbers[n + NUMBERS.outBytes] = given[AT.forward_bytes * capacity + row] as number;
    numbers[n + NUMBERS.inBytes] = given[AT.backward_bytes * capacity + row] as number;
    packets[entry * 2] = given[AT.forward_packets * capacity + row] as number;
    packets[entry * 2 + 1] = given[AT.backward_packets * capacity + row] as number;
    const source = acquireAddress(this.#sources, identity, id + IDENTITY.source, version);
    const destination = acquireAddress(this.#destinations, identity, id + IDENTITY.destination, version);
    const pair = this.#pairs.acquire(source, destination);
    const channel = this.#channels.acquire(pair, service);
    this.#pair[entry] = pair;
    this.#channel[entry] = channel;
    links[l + LINKS.source] = source;
    links[l + LINKS.destination] = destination;
    links[l + LINKS.service] = service;
    links[l + LINKS.failed] = hasFailed(protocol, (identity[id + IDENTITY.outcome] as number) & 255);
    links[l + LINKS.previousOfSource] = this.#sources.exchangeNewest(source, entry);
    links[l + LINKS.previousOfDestination] = this.#destinations.exchangeNewest(destination, entry);
    links[l + LINKS.previousOfPair] = this.#pairs.exchangeNewest(pair, entry);
    links[l + LINKS.previousOfChannel] = this.#channels.exchangeNewest(channel, entry);
    return entry;
  }

  /** Live entries of the same source as this one; likewise the three below. */
  heldBySource(entry: number): number {
    return this.#sources.heldBy(this.links[entry * LINKS.stride + LINKS.source] as number);
  }

  heldByDestination(entry: number): number {
    return this.#destinations.heldBy(this.links[entry * LINKS.stride + LINKS.destination] as number);
  }

  heldByPair(entry: number): number {
    return this.#pairs.heldBy(this.#pair[entry] as number);
  }

  heldByChannel(entry: number): number {
    return this.#channels.heldBy(this.#channel[entry] as number);
  }

  #forget(entry: number): void {
    this.forgotten++;
    this.#sources.release(this.links[entry * LINKS.stride + LINKS.source] as number);
    this.#destinations.release(this.links[entry * LINKS.stride + LINKS.destination] as number);
    this.#pairs.release(this.#pair[entry] as number);
    this.#channels.release(this.#channel[entry] as number);
  }
}

function acquireAddress(table: KeyTable, identity: Uint32Array, at: number, version: number): number {
  return table.acquire(
    (identity[at] as number) | 0,
    (identity[at + 1] as number) | 0,
    (identity[at + 2] as number) | 0,
    (identity[at + 3] as number) | 0,
    version,
  );
}
