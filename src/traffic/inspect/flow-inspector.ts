import type { FlowNames } from '../flow.ts';
import type { Measure } from '../flow-measures.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';
import { readDnsMessage } from './dns-message.ts';

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

interface DnsRead {
  queries: number;
  responses: number;
  failures: number;
  answers: number;
  queryType: number;
  ttlMin: number;
  nameLengthMax: number;
  labelsMax: number;
  entropyMax: number;
}

interface OpenInspection {
  dns: DnsRead | undefined;
  hello: ClientHello | undefined;
  names: { dns?: string[]; sni?: string; ja4?: string } | undefined;
  isTextDropped: boolean;
}

/**
 * Reads DNS messages and TLS ClientHellos for a flow meter, which says which payload belongs to which flow. Flows
 * are known by any number that no other flow has before it is taken. Nothing of the payload is kept but the names,
 * escaped. Memory: some 200 bytes a flow that was told, and up to 1.5 KB of text for `maxNamedFlows` of them.
 */
export class FlowInspector {
  readonly #options: InspectorOptions;
  readonly #limits: Record<string, number>;
  readonly #flows = new Map<number, OpenInspection>();
  #namedFlows = 0;

  /** `limits` is where dropped text is counted, as 'names', once a flow. */
  constructor(limits: Record<string, number>, options: Partial<InspectorOptions> = {}) {
    this.#limits = limits;
    this.#options = { ...INSPECTOR_DEFAULTS, ...options };
  }

  /** Flows that were told of and not yet taken. */
  get size(): number {
    return this.#flows.size;
  }

  /** Reads the UDP payload in `bytes[offset, end)` as a DNS message; what is none leaves only zeros behind. */
  dns(flow: number, bytes: Uint8Array, offset: number, end: number): void {
    const inspection = this.#open(flow);
    inspection.dns ??= newDnsRead();
    const dns = inspection.dns;
    const message = readDnsMessage(bytes, offset, end);
    if (message === undefined) return;
    if (message.isResponse) {
      dns.responses++;
      if (message.responseCode !== 0) dns.failures++;
    } else {
      dns.queries++;
    }
    dns.answers += message.answers;
    if (!(dns.ttlMin <= message.ttlMin) && !Number.isNaN(message.ttlMin)) dns.ttlMin = message.ttlMin;
    for (const { name, type } of message.questions) {
      if (Number.isNaN(dns.queryType)) dns.queryType = type;
      dns.nameLengthMax = Math.max(dns.nameLengthMax, name.length);
      dns.labelsMax = Math.max(dns.labelsMax, name.labels);
      dns.entropyMax = Math.max(dns.entropyMax, name.entropy);
      const names = this.#named(inspection);
      if (names === undefined) continue;
      names.dns ??= [];
      if (names.dns.length < MAX_DNS_NAMES && !names.dns.includes(name.text)) names.dns.push(name.text);
    }
  }

  /** Reads the TCP payload in `bytes[offset, end)` as a ClientHello; a flow has one, the first. */
  tls(flow: number, bytes: Uint8Array, offset: number, end: number): void {
    if (this.#flows.get(flow)?.hello !== undefined) return;
    const hello = readClientHello(bytes, offset, end);
    if (hello === undefined) return;
    const inspection = this.#open(flow);
    inspection.hello = hello;
    if (hello.serverName === undefined && hello.ja4 === undefined) return;
    const names = this.#named(inspection);
    if (names === undefined) return;
    if (hello.serverName !== undefined) names.sni = hello.serverName.text;
    if (hello.ja4 !== undefined) names.ja4 = hello.ja4;
  }

  /** What was read of a flow that is handed out, and forgets it; undefined where nothing was told of it. */
  take(flow: number): InspectedFlow | undefined {
    const inspection = this.#flows.get(flow);
    if (inspection === undefined) return undefined;
    this.#flows.delete(flow);
    if (inspection.names !== undefined) this.#namedFlows--;
    return { measures: measuresOf(inspection), names: inspection.names };
  }

  #open(flow: number): OpenInspection {
    let inspection = this.#flows.get(flow);
    if (inspection === undefined) {
      inspection = { dns: undefined, hello: undefined, names: undefined, isTextDropped: false };
      this.#flows.set(flow, inspection);
    }
    return inspection;
  }

  /** Where the names of a flow go; undefined where too many flows have names already. */
  #named(inspection: OpenInspection): OpenInspection['names'] {
    if (inspection.names !== undefined || inspection.isTextDropped) return inspection.names;
    if (this.#namedFlows < this.#options.maxNamedFlows) {
      this.#namedFlows++;
      inspection.names = {};
    } else {
      inspection.isTextDropped = true;
      this.#limits.names = (this.#limits.names ?? 0) + 1;
    }
    return inspection.names;
  }
}

function newDnsRead(): DnsRead {
  return {
    queries: 0,
    responses: 0,
    failures: 0,
    answers: 0,
    queryType: Number.NaN,
    ttlMin: Number.NaN,
    nameLengthMax: 0,
    labelsMax: 0,
    entropyMax: 0,
  };
}

/** The measures that are known; a flow without DNS or ClientHello has none of theirs. */
function measuresOf({ dns, hello }: OpenInspection): Partial<Record<Measure, number>> {
  const measures: Partial<Record<Measure, number>> = {};
  if (dns !== undefined) {
    measures.dns_queries = dns.queries;
    measures.dns_responses = dns.responses;
    measures.dns_failures = dns.failures;
    measures.dns_answers = dns.answers;
    if (!Number.isNaN(dns.queryType)) measures.dns_query_type = dns.queryType;
    if (!Number.isNaN(dns.ttlMin)) measures.dns_ttl_min = dns.ttlMin;
    measures.dns_name_length_max = dns.nameLengthMax;
    measures.dns_labels_max = dns.labelsMax;
    measures.dns_name_entropy_max = dns.entropyMax;
  }
  if (hello !== undefined && (hello.isWhole || hello.serverName !== undefined)) {
    measures.tls_name_length = hello.serverName?.length ?? 0;
    measures.tls_name_entropy = hello.serverName?.entropy ?? 0;
  }
  return measures;
}
