import type { FlowNames } from '../flow.ts';
import { FLOW_NUMBER_INDEX, INSPECTED_MEASURES, type Measure } from '../flow-measures.ts';
import { readClientHello } from './client-hello.ts';
import { readDnsMessage } from './dns-message.ts';
import { NameMemory } from './name-memory.ts';

export interface InspectorOptions {
  /** Flows whose names are kept at once, at most; of more flows only the measures are. */
  readonly maxNamedFlows: number;
}

export const INSPECTOR_DEFAULTS: InspectorOptions = { maxNamedFlows: 65_536 };

/** What was read in the payloads of one flow. */
export interface InspectedFlow {
  readonly measures: Readonly<Partial<Record<Measure, number>>>;
  readonly names: FlowNames | undefined;
}

/** DNS names kept of a flow. */
const MAX_DNS_NAMES = 4;

/** Values of a slot, in the order of `INSPECTED_MEASURES`. */
const VALUES = INSPECTED_MEASURES.length;
const AT = Object.fromEntries(INSPECTED_MEASURES.map((name, at) => [name, at])) as Readonly<
  Record<(typeof INSPECTED_MEASURES)[number], number>
>;
const COLUMNS = Int32Array.from(INSPECTED_MEASURES, (name) => FLOW_NUMBER_INDEX[name]);
/** Slots that there is room for at first. */
const FIRST_SLOTS = 1_024;
/** What is known of a slot beside its values. */
const HAS_HELLO = 1;
const TEXT_DROPPED = 2;

interface OpenNames {
  dns?: string[];
  sni?: string;
  ja4?: string;
}

/**
 * Reads DNS messages and TLS ClientHellos for a flow meter, which says which payload belongs to which flow. Flows
 * are known by any number that no other flow has before it is taken. Nothing of the payload is kept but the names,
 * escaped. Memory: some 200 bytes a flow that was told, and up to 1.5 KB of text for `maxNamedFlows` of them.
 */
export class FlowInspector {
  readonly #options: InspectorOptions;
  readonly #limits: Record<string, number>;
  /** Slot of each flow that was told of. */
  readonly #slots = new Map<number, number>();
  /** Float64Array, slots x VALUES: NaN is missing. */
  #values = new Float64Array(FIRST_SLOTS * VALUES);
  #states = new Uint8Array(FIRST_SLOTS);
  readonly #names: (OpenNames | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #known = new NameMemory();
  #namedFlows = 0;

  /** `limits` is where dropped text is counted, as 'names', once a flow. */
  constructor(limits: Record<string, number>, options: Partial<InspectorOptions> = {}) {
    this.#limits = limits;
    this.#options = { ...INSPECTOR_DEFAULTS, ...options };
  }

  /** Flows that were told of and not yet taken. */
  get size(): number {
    return this.#slots.size;
  }

  /** Reads the UDP payload in `bytes[offset, end)` as a DNS message; what is none leaves only zeros behind. */
  dns(flow: number, bytes: Uint8Array, offset: number, end: number): void {
    const slot = this.#open(flow);
    const values = this.#values;
    const at = slot * VALUES;
    if (Number.isNaN(values[at])) {
      for (let i = 0; i <= AT.dns_name_entropy_max; i++) values[at + i] = 0;
      values[at + AT.dns_query_type] = Number.NaN;
      values[at + AT.dns_ttl_min] = Number.NaN;
    }
    const message = readDnsMessage(bytes, offset, end, this.#known);
    if (message === undefined) return;
    const { isResponse, responseCode, answers, ttlMin, questions } = message;
    if (isResponse) {
      values[at + AT.dns_responses]!++;
      if (responseCode !== 0) values[at + AT.dns_failures]!++;
    } else {
      values[at + AT.dns_queries]!++;
    }
    values[at + AT.dns_answers]! += answers;
    if (!(values[at + AT.dns_ttl_min]! <= ttlMin) && !Number.isNaN(ttlMin)) {
      values[at + AT.dns_ttl_min] = ttlMin;
    }
    for (const { name, type } of questions) {
      if (Number.isNaN(values[at + AT.dns_query_type])) values[at + AT.dns_query_type] = type;
      this.#raise(at + AT.dns_name_length_max, name.length);
      this.#raise(at + AT.dns_labels_max, name.labels);
      this.#raise(at + AT.dns_name_entropy_max, name.entropy);
      const names = this.#named(slot);
      if (names === undefined) continue;
      names.dns ??= [];
      if (names.dns.length < MAX_DNS_NAMES && !names.dns.includes(name.text)) names.dns.push(name.text);
    }
  }

  /** Reads the TCP payload in `bytes[offset, end)` as a ClientHello; a flow has one, the first. */
  tls(flow: number, bytes: Uint8Array, offset: number, end: number): void {
    const known = this.#slots.get(flow);
    if (known !== undefined && (this.#states[known]! & HAS_HELLO) !== 0) return;
    const hello = readClientHello(bytes, offset, end);
    if (hello === undefined) return;
    const slot = this.#open(flow);
    this.#states[slot]! |= HAS_HELLO;
    const { serverName, ja4, isWhole } = hello;
    if (isWhole || serverName !== undefined) {
      this.#values[slot * VALUES + AT.tls_name_length] = serverName?.length ?? 0;
      this.#values[slot * VALUES + AT.tls_name_entropy] = serverName?.entropy ?? 0;
    }
    if (serverName === undefined && ja4 === undefined) return;
    const names = this.#named(slot);
    if (names === undefined) return;
    if (serverName !== undefined) names.sni = serverName.text;
    if (ja4 !== undefined) names.ja4 = ja4;
  }

  /** What was read of a flow that is handed out, and forgets it; undefined where nothing was told of it. */
  take(flow: number): InspectedFlow | undefined {
    const slot = this.#slots.get(flow);
    if (slot === undefined) return undefined;
    const measures: Partial<Record<Measure, number>> = {};
    for (let i = 0; i < VALUES; i++) {
      const value = this.#values[slot * VALUES + i]!;
      if (!Number.isNaN(value)) measures[INSPECTED_MEASURES[i]!] = value;
    }
    return { measures, names: this.#forget(flow, slot) };
  }

  /**
   * As `take`, the measures written to row `row` of a batch's number columns, `stride` values each, NaN where missing.
   * Returns the names; undefined where there are none.
   */
  takeInto(flow: number, numbers: Float64Array, row: number, stride: number): FlowNames | undefined {
    const slot = this.#slots.get(flow);
    if (slot === undefined) return undefined;
    for (let i = 0; i < VALUES; i++) numbers[COLUMNS[i]! * stride + row] = this.#values[slot * VALUES + i]!;
    return this.#forget(flow, slot);
  }

  /** Zeroes what was kept of packets to read the next ones sooner. */
  wipe(): void {
    this.#known.wipe();
  }

  #open(flow: number): number {
    const known = this.#slots.get(flow);
    if (known !== undefined) return known;
    const slot = this.#free.pop() ?? this.#slots.size;
    if (slot === this.#states.length) {
      const [values, states] = [this.#values, this.#states];
      this.#values = new Float64Array(2 * values.length);
      this.#states = new Uint8Array(2 * states.length);
      this.#values.set(values);
      this.#states.set(states);
    }
    this.#values.fill(Number.NaN, slot * VALUES, (slot + 1) * VALUES);
    this.#states[slot] = 0;
    this.#names[slot] = undefined;
    this.#slots.set(flow, slot);
    return slot;
  }

  #forget(flow: number, slot: number): FlowNames | undefined {
    const names = this.#names[slot];
    if (names !== undefined) this.#namedFlows--;
    this.#names[slot] = undefined;
    this.#slots.delete(flow);
    this.#free.push(slot);
    return names;
  }

  #raise(at: number, value: number): void {
    if (value > this.#values[at]!) this.#values[at] = value;
  }

  /** Where the names of a flow go; undefined where too many flows have names already. */
  #named(slot: number): OpenNames | undefined {
    const names = this.#names[slot];
    if (names !== undefined || (this.#states[slot]! & TEXT_DROPPED) !== 0) return names;
    if (this.#namedFlows < this.#options.maxNamedFlows) {
      this.#namedFlows++;
      const fresh: OpenNames = {};
      this.#names[slot] = fresh;
      return fresh;
    }
    this.#states[slot]! |= TEXT_DROPPED;
    this.#limits.names = (this.#limits.names ?? 0) + 1;
    return undefined;
  }
}

/** Clears the measures of a row that the inspector fills. */
export function clearInspected(numbers: Float64Array, row: number, stride: number): void {
  for (let i = 0; i < VALUES; i++) numbers[COLUMNS[i]! * stride + row] = Number.NaN;
}
