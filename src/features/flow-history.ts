import type { FlowRecord } from '../traffic/index.ts';
import { serviceKey, stateClass } from './flow-classes.ts';
import { KeyTable } from './key-table.ts';

/** One of the four keys under which a flow is remembered, with the chain of its flows, newest first. */
export interface FlowChain {
  /** Slot of the key, by entry. */
  readonly slot: Int32Array;
  /** The entry before, of the same key, by entry; meaningless beyond the number of live entries of the key. */
  readonly previous: Int32Array;
  readonly held: Int32Array;
}

/**
 * The last `capacity` flows, in typed arrays made once, in a ring. Each flow is chained to the one before it of
 * the same source, destination, pair, and channel (pair, protocol and responder's port), so one memory bound
 * covers all keys and a flood of new keys can only push out what is older than `capacity` flows.
 */
export class FlowHistory {
  readonly capacity: number;
  /** Flows remembered now. */
  size = 0;
  /** Flows pushed out so far. */
  forgotten = 0;
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly forwardBytes: Float64Array;
  readonly backwardBytes: Float64Array;
  readonly forwardPackets: Float64Array;
  readonly backwardPackets: Float64Array;
  /** Protocol and responder's port, as `serviceKey` gives it. */
  readonly service: Int32Array;
  /** 1 where the connection did not come about. */
  readonly failed: Uint8Array;
  readonly bySource: FlowChain;
  readonly byDestination: FlowChain;
  readonly byPair: FlowChain;
  readonly byChannel: FlowChain;
  readonly #sources: KeyTable<string>;
  readonly #destinations: KeyTable<string>;
  readonly #pairs: KeyTable<number>;
  readonly #channels: KeyTable<number>;
  #next = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.start = new Float64Array(capacity);
    this.end = new Float64Array(capacity);
    this.forwardBytes = new Float64Array(capacity);
    this.backwardBytes = new Float64Array(capacity);
    this.forwardPackets = new Float64Array(capacity);
    this.backwardPackets = new Float64Array(capacity);
    this.service = new Int32Array(capacity);
    this.failed = new Uint8Array(capacity);
    this.#sources = new KeyTable(capacity);
    this.#destinations = new KeyTable(capacity);
    this.#pairs = new KeyTable(capacity);
    this.#channels = new KeyTable(capacity);
    this.bySource = chainOf(capacity, this.#sources.held);
    this.byDestination = chainOf(capacity, this.#destinations.held);
    this.byPair = chainOf(capacity, this.#pairs.held);
    this.byChannel = chainOf(capacity, this.#channels.held);
  }

  /** Remembers a flow, forgetting the oldest where the ring is full. Returns its entry. */
  push(flow: FlowRecord): number {
    const entry = this.#next;
    this.#next = entry + 1 === this.capacity ? 0 : entry + 1;
    if (this.size === this.capacity) this.#forget(entry);
    else this.size++;
    const service = serviceKey(flow.protocol, flow.destinationPort);
    this.start[entry] = flow.startMs;
    this.end[entry] = Math.max(flow.startMs, flow.endMs);
    this.forwardBytes[entry] = flow.forward.bytes;
    this.backwardBytes[entry] = flow.backward.bytes;
    this.forwardPackets[entry] = flow.forward.packets;
    this.backwardPackets[entry] = flow.backward.packets;
    this.service[entry] = service;
    this.failed[entry] = stateClass(flow.protocol, flow.state).failed ? 1 : 0;
    const source = link(this.#sources, this.bySource, entry, flow.sourceAddress);
    const destination = link(this.#destinations, this.byDestination, entry, flow.destinationAddress);
    // Slots and capacity stay below 2^22 and services below 2^24, so both keys are exact in a double.
    const pair = link(this.#pairs, this.byPair, entry, source * this.capacity + destination);
    link(this.#channels, this.byChannel, entry, pair * 0x1000000 + service);
    return entry;
  }

  #forget(entry: number): void {
    this.forgotten++;
    this.#sources.release(this.bySource.slot[entry] as number);
    this.#destinations.release(this.byDestination.slot[entry] as number);
    this.#pairs.release(this.byPair.slot[entry] as number);
    this.#channels.release(this.byChannel.slot[entry] as number);
  }
}

function chainOf(capacity: number, held: Int32Array): FlowChain {
  return { slot: new Int32Array(capacity), previous: new Int32Array(capacity), held };
}

function link<K extends string | number>(
  table: KeyTable<K>,
  chain: FlowChain,
  entry: number,
  key: K,
): number {
  const slot = table.acquire(key);
  chain.slot[entry] = slot;
  chain.previous[entry] = table.newest[slot] as number;
  table.newest[slot] = entry;
  return slot;
}
