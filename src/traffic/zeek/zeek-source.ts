import type { ByteSource } from '../byte-source.ts';
import { countedFlow, countName, newCounters } from '../counters.ts';
import { TrafficError } from '../errors.ts';
import type { FlowRecord, SourceCounters } from '../flow.ts';
import { FlowBatch } from '../flow-batch.ts';
import type { FlowSource } from '../flow-source.ts';
import { textLines } from '../text-lines.ts';
import { untilAborted } from '../until-aborted.ts';
import {
  ZEEK_FIELDS,
  ZEEK_REQUIRED,
  type ZeekEntry,
  type ZeekField,
  type ZeekLog,
  zeekFlow,
  zeekLog,
} from './zeek-flow.ts';

/** More fields than any conn.log has. */
const MAX_FIELDS = 1024;

/** Whether a text that begins with `head` is a Zeek log with header lines. */
export function isZeekTsv(head: string): boolean {
  return /^\s*#(separator|fields)\b/.test(head);
}

/** Whether a text that begins with `head` is JSON objects, one a line. */
export function isJsonLines(head: string): boolean {
  return /^\s*\{/.test(head);
}

/** Whether a text that begins with `head` is a Zeek log as JSON: each of its lines names who began the connection. */
export function isZeekJson(head: string): boolean {
  return /^\s*\{[^\n]*"id\.orig_h"\s*:/.test(head);
}

/**
 * Flows of a Zeek conn.log, TSV with its header lines or JSON lines, in the order of the file; a dns.log gives the
 * flow of each exchange and an ssl.log that of each handshake, without counts. Fields are found by
 * name, so their order and further ones do not matter. Lines that are no flow are counted: `zeek-field-count`,
 * `zeek-no-header`, `zeek-invalid-json`, `zeek-invalid-time`, `-address`, `-port`, `-protocol`, `-duration`,
 * `line-too-long`. A header or a first JSON line without a required field throws `traffic.missing-column`.
 */
export class ZeekSource implements FlowSource {
  readonly kind = 'zeek';
  readonly counters: SourceCounters;
  readonly #bytes: ByteSource;
  readonly #isJson: boolean;
  #separator = '\t';
  #unset = '-';
  #empty = '(empty)';
  #fieldCount = 0;
  #columns: Partial<Record<ZeekField, number>> | undefined;
  #isFirst = true;
  #log: ZeekLog = 'conn';

  constructor(bytes: ByteSource, isJson: boolean, counters: SourceCounters = newCounters()) {
    this.#bytes = bytes;
    this.#isJson = isJson;
    this.counters = counters;
  }

  get isEndless(): boolean {
    return this.#bytes.lingers === true;
  }

  async *batches(signal?: AbortSignal): AsyncGenerator<FlowBatch> {
    const text = textLines(this.#bytes.chunks, (code) => countName(this.counters.malformed, code));
    for await (const lines of untilAborted(this.#bytes, text, signal)) {
      const flows = lines.map((line) => this.#flow(line)).filter((flow) => flow !== undefined);
      if (flows.length > 0) yield FlowBatch.from(flows, this.kind);
    }
  }

  #flow(line: string): FlowRecord | undefined {
    if (line.trim() === '') return undefined;
    const entry = this.#isJson ? this.#jsonEntry(line) : this.#tsvEntry(line);
    if (entry === undefined) return undefined;
    const flow = typeof entry === 'string' ? entry : zeekFlow(entry, this.#log);
    return countedFlow(this.counters, flow);
  }

  /** The fields of a line, the code of a fault, or undefined for a header line. */
  #tsvEntry(line: string): ZeekEntry | string | undefined {
    if (/^\s*#/.test(line)) {
      this.#readHeader(line.trimStart());
      return undefined;
    }
    const columns = this.#columns;
    if (columns === undefined) return 'zeek-no-header';
    const cells = line.split(this.#separator, MAX_FIELDS + 1);
    if (cells.length !== this.#fieldCount) return 'zeek-field-count';
    return (field) => {
      const cell = cells[columns[field] ?? -1];
      return cell === this.#unset || cell === this.#empty ? undefined : cell;
    };
  }

  #readHeader(line: string): void {
    if (line.startsWith('#separator ')) {
      const text = line.slice('#separator '.length);
      this.#separator = text.replaceAll(/\\x([0-9a-f]{2})/gi, (_, hex) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      if (this.#separator === '') this.#separator = '\t';
      return;
    }
    const [name, ...values] = line.split(this.#separator, MAX_FIELDS + 1);
    if (name === '#unset_field') this.#unset = values[0] ?? '-';
    else if (name === '#empty_field') this.#empty = values[0] ?? '(empty)';
    else if (name === '#fields') {
      this.#fieldCount = values.length;
      this.#columns = Object.fromEntries(
        ZEEK_FIELDS.map((field) => [field, values.indexOf(field)]).filter(([, at]) => at !== -1),
      );
      this.#log = requireFields(new Set(values));
    }
  }

  #jsonEntry(line: string): ZeekEntry | string {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return 'zeek-invalid-json';
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'zeek-invalid-json';
    const fields = new Map<string, unknown>(Object.entries(value));
    if (this.#isFirst) {
      this.#log = requireFields(new Set(fields.keys()));
      this.#isFirst = false;
    }
    return (field) => {
      const cell = fields.get(field);
      if (Array.isArray(cell)) return cell.slice(0, MAX_FIELDS).map(String).join(',');
      return typeof cell === 'string' || typeof cell === 'number' ? String(cell) : undefined;
    };
  }
}

/** The log that has `fields`; throws where one is missing without which no line is a flow. */
function requireFields(fields: ReadonlySet<string>): ZeekLog {
  const log = zeekLog(fields);
  const missing = ZEEK_REQUIRED.find((field) => !fields.has(field) && !(log === 'ssl' && field === 'proto'));
  if (missing === undefined) return log;
  throw new TrafficError(
    'traffic.missing-column',
    `expected a Zeek conn.log, dns.log or ssl.log, which has the field ${missing}; this log does not`,
  );
}
