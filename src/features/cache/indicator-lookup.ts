import type { ValueState } from './value-state.ts';

/** What threat intelligence says of an address or a name. */
export interface IndicatorAnswer {
  /** `present`: listed. `missing`: not listed. `stale`: the set is past its time. `invalid`: neither address nor name. */
  readonly state: ValueState;
  /** Kinds of threat the entry is listed for; empty where it is not. */
  readonly labels: readonly string[];
  /** Of the set of indicators that answered. */
  readonly version: string;
}

/** Asks the set of indicators. Declared here, where enrichment is cached; filled by who holds the indicators. */
export interface IndicatorLookup {
  /** Changes with the set: what was answered under another version is forgotten. */
  readonly version: string;
  /** May be slow (a server): nothing on the route of data waits for it. */
  lookup(addressOrName: string, signal: AbortSignal): Promise<IndicatorAnswer>;
}
