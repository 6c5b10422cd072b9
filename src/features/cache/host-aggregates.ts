import type { Bytes, Logger, Milliseconds } from '../../base/index.ts';
import { type FlowBatch, IDENTITY, IDENTITY_WORDS } from '../../traffic/index.ts';
import { type FeatureBackend, newReduction } from '../backend/feature-backend.ts';
import { FeatureCache } from './feature-cache.ts';
import type { ValueState } from './value-state.ts';

/** What a host did as the source of flows, over activity without a pause longer than the cache's time. */
export interface HostAggregate {
  readonly flows: number;
  readonly packets: number;
  readonly bytesOut: Bytes;
  readonly bytesIn: Bytes;
  readonly longestMs: Milliseconds;
  /** Traffic time of the earliest start and the latest end. */
  readonly firstMs: Milliseconds;
  readonly lastMs: Milliseconds;
}

export interface HostAggregatesOptions {
  /** The backend to use now: a device may come later, or go. */
  readonly backend: () => FeatureBackend;
  readonly ttlMs: Milliseconds;
  readonly budgetBytes: Bytes;
  readonly logger: Logger;
}

/** Columns of the table that is reduced by host. */
const COLUMNS = 4;
const [PACKETS, BYTES_OUT, BYTES_IN, DURATION] = [0, 1, 2, 3] as const;
/** Seven boxed numbers and the object that holds them. */
const AGGREGATE_BYTES: Bytes = 136;

/** Sums over the flows of each source host, within a budget of memory. Counts that a source does not report add nothing. */
export class HostAggregates {
  readonly cache: FeatureCache<HostAggregate>;
  readonly #backend: () => FeatureBackend;

  constructor({ backend, ttlMs, budgetBytes, logger }: HostAggregatesOptions) {
    this.#backend = backend;
    this.cache = new FeatureCache({
      ...{ name: 'hosts', ttlMs, budgetBytes, logger },
      sizeOf: () => AGGREGATE_BYTES,
      dependsOn: ['schema'],
    });
  }

  /** Adds a batch, which must not change until this resolves. Numbers are added as float32 within a batch. */
  async add(flows: FlowBatch): Promise<void> {
    const { rows } = flows;
    if (rows === 0) return;
    const { keys, first } = hostsOf(flows);
    const values = new Float32Array(rows * COLUMNS);
    const [startMs, endMs] = [flows.column('start_ms'), flows.column('end_ms')];
    for (let row = 0; row < rows; row++) {
      const at = row * COLUMNS;
      values[at + PACKETS] = flows.number(row, 'forward_packets') + flows.number(row, 'backward_packets');
      values[at + BYTES_OUT] = flows.number(row, 'forward_bytes');
      values[at + BYTES_IN] = flows.number(row, 'backward_bytes');
      values[at + DURATION] = Math.max(0, (endMs[row] as number) - (startMs[row] as number));
    }
    const sums = newReduction(first.length, COLUMNS);
    await this.#backend().reduce({ values, rows, columns: COLUMNS }, keys, sums);
    const times = timesOf(keys, first.length, { startMs, endMs });
    for (const [host, row] of first.entries()) {
      const at = host * COLUMNS;
      const longest = sums.maxima[at + DURATION] as number;
      this.#merge(flows.record(row).sourceAddress, {
        flows: times.flows[host] as number,
        packets: sums.sums[at + PACKETS] as number,
        bytesOut: sums.sums[at + BYTES_OUT] as number,
        bytesIn: sums.sums[at + BYTES_IN] as number,
        longestMs: Number.isNaN(longest) ? 0 : longest,
        firstMs: times.first[host] as number,
        lastMs: times.last[host] as number,
      });
    }
  }

  /** A host by its address as flows write it, at a time of the traffic. */
  read(
    address: string,
    atMs: Milliseconds,
  ): { readonly state: ValueState; readonly aggregate?: HostAggregate } {
    const { state, known } = this.cache.read(address, atMs);
    return { state, ...(known?.value !== undefined && { aggregate: known.value }) };
  }

  #merge(address: string, added: HostAggregate): void {
    const { state, known } = this.cache.read(address, Math.max(added.lastMs, added.firstMs));
    const before = known?.value;
    // `missing` with a value: the flow is older than what is known, and belongs to it.
    if (before === undefined || state === 'stale') {
      this.cache.write(address, added, added.lastMs);
      return;
    }
    const lastMs = Math.max(before.lastMs, added.lastMs);
    const merged = {
      flows: before.flows + added.flows,
      packets: before.packets + added.packets,
      bytesOut: before.bytesOut + added.bytesOut,
      bytesIn: before.bytesIn + added.bytesIn,
      longestMs: Math.max(before.longestMs, added.longestMs),
      firstMs: Math.min(before.firstMs, added.firstMs),
      lastMs,
    };
    this.cache.write(address, merged, lastMs);
  }
}

/** Numbers the source hosts of a batch: `keys` by row, `first` the first row of each host. */
function hostsOf(flows: FlowBatch): { readonly keys: Uint32Array; readonly first: readonly number[] } {
  const { identity, rows } = flows;
  const keys = new Uint32Array(rows);
  const first: number[] = [];
  const numbers = new Map<number | string, number>();
  for (let row = 0; row < rows; row++) {
    const at = row * IDENTITY_WORDS;
    const word = identity[at + IDENTITY.source] as number;
    const isV4 = (((identity[at + IDENTITY.kind] as number) >>> 8) & 255) === 4;
    // An IPv4 address is its number; the texts of the others are no numbers.
    const key = isV4 ? word : identity.subarray(at + IDENTITY.source, at + IDENTITY.source + 4).join(':');
    let host = numbers.get(key);
    if (host === undefined) {
      host = first.push(row) - 1;
      numbers.set(key, host);
    }
    keys[row] = host;
  }
  return { keys, first };
}

/** Times are counted in float64: as float32 they would be minutes off. */
function timesOf(
  keys: Uint32Array,
  hosts: number,
  { startMs, endMs }: { readonly startMs: Float64Array; readonly endMs: Float64Array },
) {
  const flows = new Uint32Array(hosts);
  const first = new Float64Array(hosts).fill(Number.POSITIVE_INFINITY);
  const last = new Float64Array(hosts).fill(Number.NEGATIVE_INFINITY);
  for (const [row, host] of keys.entries()) {
    flows[host] = (flows[host] as number) + 1;
    first[host] = Math.min(first[host] as number, startMs[row] as number);
    last[host] = Math.max(last[host] as number, endMs[row] as number);
  }
  return { flows, first, last };
}
