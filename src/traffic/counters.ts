import type { FlowRecord, SourceCounters } from './flow.ts';

/** Distinct names a counter table holds; what comes after is counted as 'other'. Names can come from the wire. */
const MAX_NAMES = 64;

export function newCounters(): SourceCounters {
  return { packets: 0, bytes: 0, flows: 0, fragments: 0, evicted: 0, ignored: {}, malformed: {}, limits: {} };
}

/** Adds one to the count of `name` in `table`. */
export function countName(table: Record<string, number>, name: string): void {
  const count = table[name];
  if (count !== undefined) table[name] = count + 1;
  else if (Object.keys(table).length < MAX_NAMES) table[name] = 1;
  else table.other = (table.other ?? 0) + 1;
}

/** Counts a flow that its source reports whole, with what it says of packets and bytes. */
export function countFlow(counters: SourceCounters, flow: FlowRecord): void {
  counters.flows++;
  for (const side of [flow.forward, flow.backward]) {
    counters.packets += side.packets || 0;
    counters.bytes += side.bytes || 0;
  }
}
