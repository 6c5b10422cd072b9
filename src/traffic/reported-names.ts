import type { MeasureValues } from './derived-measures.ts';
import type { FlowNames } from './flow.ts';
import { escapeName, MAX_NAME_TEXT, NameEntropy } from './inspect/name-text.ts';

/** Names kept of one flow, as our own meter keeps them. */
const MAX_DNS_NAMES = 4;
/** Messages of one flow that count, as in our own meter. */
const MAX_MESSAGES = 16;

const entropy = new NameEntropy();

/** What a source that reads DNS and TLS itself says of one flow, gathered into names and measures. */
export class ReportedNames {
  readonly #dns: string[] = [];
  #sni: string | undefined;
  #ja4: string | undefined;
  #alert: string | undefined;
  #messages = 0;
  readonly measures: MeasureValues = {};

  /** A DNS question. `type` is the number of its type, NaN where it is not known. */
  query(name: string, type: number): void {
    if (++this.#messages > MAX_MESSAGES) return;
    this.#begin();
    const m = this.measures;
    m.dns_queries = (m.dns_queries ?? 0) + 1;
    this.#name(name, type);
  }

  /** A DNS answer; `ttlMin` is the smallest time to live, s, NaN where there is none. */
  response(hasFailed: boolean, answers: number, ttlMin: number): void {
    if (++this.#messages > MAX_MESSAGES) return;
    this.#begin();
    const m = this.measures;
    m.dns_responses = (m.dns_responses ?? 0) + 1;
    if (hasFailed) m.dns_failures = (m.dns_failures ?? 0) + 1;
    m.dns_answers = (m.dns_answers ?? 0) + answers;
    if (!Number.isNaN(ttlMin)) m.dns_ttl_min = Math.min(m.dns_ttl_min ?? ttlMin, ttlMin);
  }

  /** A TLS handshake; without a server name the ClientHello had none. */
  tls(serverName: string | undefined, ja4: string | undefined): void {
    const name = serverName === undefined ? undefined : shapeOf(serverName);
    this.measures.tls_name_length = name?.length ?? 0;
    this.measures.tls_name_entropy = name?.entropy ?? 0;
    if (name !== undefined) this.#sni = name.text;
    if (ja4 !== undefined) this.#ja4 = shapeOf(ja4).text;
  }

  /** An alert that the source itself raised; the first is kept. */
  alert(signature: string): void {
    // A copy: a slice would keep all of a long text in memory.
    this.#alert ??= Buffer.from(signature.slice(0, MAX_NAME_TEXT)).toString();
  }

  get names(): FlowNames | undefined {
    const names: FlowNames = {
      ...(this.#dns.length > 0 && { dns: this.#dns }),
      ...(this.#sni !== undefined && { sni: this.#sni }),
      ...(this.#ja4 !== undefined && { ja4: this.#ja4 }),
      ...(this.#alert !== undefined && { reportedAlert: this.#alert }),
    };
    return Object.keys(names).length === 0 ? undefined : names;
  }

  /** With the first message the counts of the flow are known, also those that are 0. */
  #begin(): void {
    const m = this.measures;
    m.dns_queries ??= 0;
    m.dns_responses ??= 0;
    m.dns_failures ??= 0;
    m.dns_answers ??= 0;
    m.dns_name_length_max ??= 0;
    m.dns_labels_max ??= 0;
    m.dns_name_entropy_max ??= 0;
  }

  #name(name: string, type: number): void {
    const m = this.measures;
    const shape = shapeOf(name);
    if (m.dns_query_type === undefined && !Number.isNaN(type)) m.dns_query_type = type;
    m.dns_name_length_max = Math.max(m.dns_name_length_max ?? 0, shape.length);
    m.dns_labels_max = Math.max(m.dns_labels_max ?? 0, shape.labels);
    m.dns_name_entropy_max = Math.max(m.dns_name_entropy_max ?? 0, shape.entropy);
    if (this.#dns.length < MAX_DNS_NAMES && !this.#dns.includes(shape.text)) this.#dns.push(shape.text);
  }
}

/** A name given as text, by the rules of `DnsName`; escapes that the source wrote count as it wrote them. */
function shapeOf(name: string) {
  const bytes = Buffer.from(name.slice(0, 1024).replace(/\.$/, ''), 'utf8');
  for (const byte of bytes) entropy.add(byte);
  return {
    text: escapeName(bytes, 0, bytes.length, false).slice(0, MAX_NAME_TEXT),
    length: bytes.length,
    labels: bytes.length === 0 ? 0 : bytes.filter((byte) => byte === 0x2e).length + 1,
    entropy: entropy.take(),
  };
}

/** Types of DNS records by name (RFC 1035, 3596, 2782, 6891, 4034, 9460 and others), NaN for one that is not here. */
export function dnsTypeNumber(name: string): number {
  return DNS_TYPES[name.toUpperCase()] ?? Number.NaN;
}

const DNS_TYPES: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  NULL: 10,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  OPT: 41,
  DS: 43,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  AXFR: 252,
  ANY: 255,
  '*': 255,
  URI: 256,
  CAA: 257,
};
