import type { FlowRecord, SourceCounters } from './flow.ts';

/** Distinct names a counter table holds; what comes after is counted as 'other'. Names can come from the wire. */
const MAX_NAMES = 64;

export function newCounters(): SourceCounters {
  return {
    packets: 0,
    bytes: 0,
    flows: 0,
    fragments: 0,
    evicted: 0,
    ignored: {},
    malformed: {},
    limits: {},
    lost: {},
  };
}

/** Adds `amount` to the count of `name` in `table`. */
export function countName(table: Record<string, number>, name: string, amount = 1): void {
  const count = table[name];
  if (count !== undefined) table[name] = count + amount;
  else if (Object.keys(table).length < MAX_NAMES) table[name] = amount;
  else table.other = (table.other ?? 0) + amount;
}

/** The flow, counted, or undefined where it is the code of what is wrong with it, which is counted as well. */
export function countedFlow(counters: SourceCounters, flow: FlowRecord | string): FlowRecord | undefined {
  if (typeof flow === 'string') {
    countName(counters.malformed, flow);
    return undefined;
  }
  countFlow(counters, flow);
  return flow;
}

/** Counts a flow that its source reports whole, with what it says of packets and bytes. */
export function countFlow(counters: SourceCounters, flow: FlowRecord): void {
  counters.flows++;
  for (const side of [flow.forward, flow.backward]) {
    counters.packets += side.packets || 0;
    counters.bytes += side.bytes || 0;
  }
}
