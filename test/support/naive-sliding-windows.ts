import type { SlidingWindowLimits } from '../../src/features/index.ts';
import type { FlowRecord } from '../../src/traffic/index.ts';

/** One flow in a window, in the bucket that it counts in. */
interface Counted {
  readonly flow: FlowRecord;
  readonly bucket: number;
}

interface Key {
  flows: Counted[];
  newest: number;
  /** Flows in a row from before the long window. */
  stale: number;
  starts: number[];
  seen: boolean;
  /** Tells apart the lives of a key. */
  readonly life: number;
}

/** The keys of one kind: an array in which a hand goes round, as the rule has it. */
class Keys {
  readonly #capacity: number;
  readonly #slots: { name: string; key: Key }[] = [];
  #hand = 0;
  #lives = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  find(name: string): Key {
    let slot = this.#slots.find((other) => other.name === name);
    if (slot === undefined) {
      const key = {
        flows: [],
        newest: Number.NEGATIVE_INFINITY,
        stale: 0,
        starts: [],
        seen: true,
        life: this.#lives++,
      };
      slot = { name, key };
      if (this.#slots.length < this.#capacity) this.#slots.push(slot);
      else {
        for (; this.#slots[this.#hand]!.key.seen; this.#step()) this.#slots[this.#hand]!.key.seen = false;
        this.#slots[this.#hand] = slot;
        this.#step();
      }
    }
    slot.key.seen = true;
    return slot.key;
  }

  #step(): void {
    this.#hand = (this.#hand + 1) % this.#capacity;
  }
}

/** The slow, obvious twin of the sliding windows: keeps every flow of a key, counts anew, and never estimates. */
export class NaiveSlidingWindows {
  readonly #limits: SlidingWindowLimits;
  readonly #sources: Keys;
  readonly #destinations: Keys;
  readonly #services: Keys;
  readonly #pairs: Keys;
  readonly #destinationServices: Keys;

  constructor(limits: SlidingWindowLimits) {
    this.#limits = limits;
    this.#sources = new Keys(limits.hosts);
    this.#destinations = new Keys(limits.hosts);
    this.#services = new Keys(limits.services);
    this.#pairs = new Keys(limits.pairs);
    this.#destinationServices = new Keys(limits.destinationServices);
  }

  /** Values by column. */
  add(flow: FlowRecord): Record<string, number> {
    const values: Record<string, number> = {};
    const service = serviceOf(flow);
    const source = this.#sources.find(flow.sourceAddress);
    const destination = this.#destinations.find(flow.destinationAddress);
    const pair = this.#pairs.find(`${source.life} ${destination.life}`);
    const all: [string, Key, Record<string, (flow: FlowRecord) => string>][] = [
      ['src', source, { hosts: (f) => f.destinationAddress, services: serviceOf }],
      ['dst', destination, { hosts: (f) => f.sourceAddress, services: serviceOf }],
      [
        'srv',
        this.#services.find(service),
        { sources: (f) => f.sourceAddress, hosts: (f) => f.destinationAddress },
      ],
      ['pair', pair, { services: serviceOf }],
      [
        'dst_srv',
        this.#destinationServices.find(`${destination.life} ${service}`),
        { sources: (f) => f.sourceAddress },
      ],
    ];
    for (const [name, key, sets] of all) {
      this.#count(key, flow);
      const short = key.flows.filter(({ bucket }) => bucket > key.newest - 4).map((one) => one.flow);
      const span = Math.floor(key.newest / 8);
      const long = key.flows.filter(({ bucket }) => Math.floor(bucket / 8) > span - 4).map((one) => one.flow);
      values[`${name}_flows_short`] = short.length;
      values[`${name}_failed_short`] = short.filter(hasFailed).length / short.length;
      values[`${name}_bytes_short`] = sum(short.flatMap((f) => [f.forward.bytes, f.backward.bytes]));
      values[`${name}_flows_long`] = long.length;
      values[`${name}_failed_long`] = long.filter(hasFailed).length / long.length;
      values[`${name}_out_bytes_long`] = sum(long.map((f) => f.forward.bytes));
      values[`${name}_in_bytes_long`] = sum(long.map((f) => f.backward.bytes));
      for (const [set, of] of Object.entries(sets)) {
        values[`${name}_${set}_short`] = new Set(short.map(of)).size;
        values[`${name}_${set}_long`] = new Set(long.map(of)).size;
      }
    }
    pair.starts.push(flow.startMs);
    const { mean, deviation } = intervalsOf(pair.starts);
    values.pair_interval_mean = mean / 1000;
    values.pair_interval_variation = mean > 0 ? deviation / mean : Number.NaN;
    return values;
  }

  #count(key: Key, flow: FlowRecord): void {
    const start = Math.max(0, Math.floor(flow.startMs / this.#limits.bucketMs)) + 256;
    key.stale = start <= key.newest - 32 ? key.stale + 1 : 0;
    if (key.stale >= 16) Object.assign(key, { flows: [], newest: start, stale: 0 });
    key.newest = Math.max(key.newest, start);
    key.flows.push({ flow, bucket: Math.max(start, key.newest - 3) });
  }
}

/** The first 16 intervals count alike, then each counts a sixteenth. */
function intervalsOf(starts: readonly number[]): { mean: number; deviation: number } {
  if (starts.length < 4) return { mean: Number.NaN, deviation: Number.NaN };
  let mean = 0;
  let variance = 0;
  for (let i = 1; i < starts.length; i++) {
    const interval = Math.abs(starts[i]! - starts[i - 1]!);
    const weight = 1 / Math.min(i, 16);
    const moved = (1 - weight) * mean + weight * interval;
    // Mean of squares less square of the mean, both weighted alike.
    variance = (1 - weight) * (variance + mean * mean) + weight * interval * interval - moved * moved;
    mean = moved;
  }
  return { mean, deviation: Math.sqrt(Math.max(0, variance)) };
}

function serviceOf({ protocol, destinationPort }: FlowRecord): string {
  return protocol === 6 || protocol === 17 ? `${protocol}/${destinationPort}` : `${protocol}`;
}

function hasFailed({ protocol, state }: FlowRecord): boolean {
  const states = protocol === 6 ? ['S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH', 'SHR'] : ['S0'];
  return states.includes(state);
}

function sum(bytes: readonly number[]): number {
  return bytes.filter((value) => value > 0 && value <= 1e15).reduce((total, value) => total + value, 0);
}
