import type { Milliseconds } from '../../base/index.ts';
import { countName } from '../counters.ts';
import type { SourceCounters } from '../flow.ts';
import { type Domain, DomainTable, type MessageTime } from './domain-table.ts';
import { SLOT } from './information-elements.ts';
import { NETFLOW_LIMITS, type NetflowLimits } from './netflow-limits.ts';
import { RecordValues, readUnsigned } from './record-values.ts';
import { checkSequence } from './sequence.ts';
import { compileTemplate, type Template, type TemplateField } from './template.ts';
import { readV5Record, V5 } from './v5-record.ts';

/** Takes one record, valid during the call only. */
export type RecordSink = (values: RecordValues, origin: RecordOrigin) => void;

/** Who exported a record, and when. */
export interface RecordOrigin {
  readonly domain: Domain;
  readonly time: MessageTime;
  /** OUT_BYTES and OUT_PKTS count the other direction. */
  readonly isOutReverse: boolean;
}

/** One message as it came. */
export interface ReceivedMessage {
  readonly bytes: Uint8Array;
  readonly exporter: string;
  /** Source port, or whatever else tells one exporting process of a machine from another. */
  readonly session: string;
  readonly receivedMs: Milliseconds;
}

const FIRST_DATA_SET = 256;

/**
 * Reads messages of NetFlow v5, v9 (RFC 3954) and IPFIX (RFC 7011) and hands out their data records. Never throws:
 * what is broken is counted in `counters.malformed` (`netflow-truncated-message`, `-truncated-set`,
 * `-invalid-set-length`, `-truncated-template`, `-invalid-template`, `-truncated-record`, `-message-too-long`,
 * `-unknown-version`), what is over a limit in `counters.limits`, and what the sequence numbers say was lost under
 * `lost['netflow-sequence']`.
 */
export class MessageDecoder {
  readonly counters: SourceCounters;
  readonly #limits: NetflowLimits;
  readonly #versions: readonly number[];
  readonly #sink: RecordSink;
  readonly #table: DomainTable;
  readonly #values = new RecordValues();

  /** `versions` are those that are read: 5, 9, 10 (IPFIX). */
  constructor(
    versions: readonly number[],
    sink: RecordSink,
    counters: SourceCounters,
    limits: Partial<NetflowLimits> = {},
  ) {
    this.#versions = versions;
    this.#sink = sink;
    this.counters = counters;
    this.#limits = { ...NETFLOW_LIMITS, ...limits };
    this.#table = new DomainTable(this.#limits, counters);
  }

  /** What each domain has sent so far. */
  get domains(): IterableIterator<Domain> {
    return this.#table.domains;
  }

  decode(message: ReceivedMessage): void {
    const { bytes } = message;
    if (bytes.length > this.#limits.maxMessageBytes) {
      this.#fault('netflow-message-too-long');
      return;
    }
    if (bytes.length < 2) {
      this.#fault('netflow-truncated-message');
      return;
    }
    const version = readUnsigned(bytes, 0, 2);
    if (!this.#versions.includes(version)) {
      const isKnown = version === 5 || version === 9 || version === 10;
      if (isKnown) countName(this.counters.ignored, `netflow-version-${version}`);
      else this.#fault('netflow-unknown-version');
      return;
    }
    if (version === 5) this.#v5(message);
    else if (version === 9) this.#v9(message);
    else this.#ipfix(message);
  }

  #v5({ bytes, exporter, session }: ReceivedMessage): void {
    if (bytes.length < V5.header) {
      this.#fault('netflow-truncated-message');
      return;
    }
    const announced = readUnsigned(bytes, 2, 2);
    const count = Math.min(announced, Math.floor((bytes.length - V5.header) / V5.record));
    if (count < announced) this.#fault('netflow-truncated-message');
    const domain = this.#table.find(exporter, session, 5, readUnsigned(bytes, 20, 2));
    const time: MessageTime = {
      exportMs: readUnsigned(bytes, 8, 4) * 1000 + readUnsigned(bytes, 12, 4) / 1e6,
      uptimeMs: readUnsigned(bytes, 4, 4),
    };
    const interval = readUnsigned(bytes, 22, 2) & 0x3fff;
    if (interval > 0) domain.samplingInterval = interval;
    this.#begin(domain, time, readUnsigned(bytes, 16, 4), announced);
    for (let i = 0; i < count; i++) {
      readV5Record(this.#values, bytes, V5.header + i * V5.record);
      this.#hand({ domain, time, isOutReverse: false });
    }
  }

  #v9(message: ReceivedMessage): void {
    const { bytes, exporter, session } = message;
    if (bytes.length < 20) {
      this.#fault('netflow-truncated-message');
      return;
    }
    const domain = this.#table.find(exporter, session, 9, readUnsigned(bytes, 16, 4));
    const time = { exportMs: readUnsigned(bytes, 8, 4) * 1000, uptimeMs: readUnsigned(bytes, 4, 4) };
    this.#begin(domain, time, readUnsigned(bytes, 12, 4), 1);
    this.#sets(message, domain, time, 20, bytes.length);
  }

  #ipfix(message: ReceivedMessage): void {
    const { bytes, exporter, session } = message;
    if (bytes.length < 16) {
      this.#fault('netflow-truncated-message');
      return;
    }
    const length = readUnsigned(bytes, 2, 2);
    if (length < 16) {
      this.#fault('netflow-truncated-message');
      return;
    }
    if (length > bytes.length) this.#fault('netflow-truncated-message');
    else if (length < bytes.length) this.#fault('netflow-trailing-bytes');
    const domain = this.#table.find(exporter, session, 10, readUnsigned(bytes, 12, 4));
    const time = { exportMs: readUnsigned(bytes, 4, 4) * 1000, uptimeMs: Number.NaN };
    const before = { records: domain.records, options: domain.options };
    const isComplete = this.#sets(message, domain, time, 16, Math.min(length, bytes.length));
    const sequence = readUnsigned(bytes, 8, 4);
    const records = domain.records - before.records;
    // RFC 7011 counts the data records before the message; softflowd counts the flows up to its end.
    const flows = records - (domain.options - before.options);
    const countsItself =
      domain.lastSequence !== undefined && isComplete && sequence === domain.lastSequence + flows;
    domain.lastSequence = sequence;
    if (countsItself) domain.nextSequence = sequence;
    // Records of a set that was not read, or of a message that was cut, cannot be counted.
    const isCounted = isComplete && length <= bytes.length;
    const isLate = this.#begin(domain, time, sequence, records);
    if (!isCounted && !isLate) domain.nextSequence = undefined;
  }

  /** Notes a message's header; whether the message was overtaken on the way. */
  #begin(domain: Domain, time: MessageTime, sequence: number, step: number): boolean {
    domain.messages++;
    domain.exportMs = Math.max(domain.exportMs, time.exportMs);
    const lost = checkSequence(domain, sequence, step);
    if (lost === 'restart') countName(this.counters.ignored, 'netflow-sequence-restart');
    else if (lost === 'late') countName(this.counters.ignored, 'netflow-late-message');
    else if (lost > 0) {
      domain.lost += lost;
      countName(this.counters.lost, 'netflow-sequence', lost);
    }
    return lost === 'late';
  }

  /** Walks the sets of a message; false where the records of a set could not be counted. */
  #sets(message: ReceivedMessage, domain: Domain, time: MessageTime, start: number, end: number): boolean {
    const { bytes } = message;
    const [templates, options] = domain.version === 9 ? [0, 1] : [2, 3];
    let isComplete = true;
    let at = start;
    while (end - at >= 4) {
      const setId = readUnsigned(bytes, at, 2);
      const length = readUnsigned(bytes, at + 2, 2);
      if (length < 4) {
        this.#fault('netflow-invalid-set-length');
        return false;
      }
      const setEnd = Math.min(at + length, end);
      const isCut = at + length > end;
      if (isCut) this.#fault('netflow-truncated-set');
      if (setId === templates || setId === options) {
        this.#templates(message, domain, setId === options, at + 4, setEnd);
      } else if (setId >= FIRST_DATA_SET) {
        const template = this.#table.template(domain, setId, message.receivedMs);
        if (template === undefined) {
          isComplete = false;
          const content = bytes.subarray(at + 4, setEnd);
          const { receivedMs } = message;
          if (!isCut) this.#table.wait(domain, { setId, bytes: content, time, receivedMs });
        } else this.#data(template, domain, time, bytes, at + 4, setEnd);
      } else countName(this.counters.ignored, 'netflow-reserved-set');
      if (isCut) return false;
      at = setEnd;
    }
    return isComplete;
  }

  #data(
    template: Template,
    domain: Domain,
    time: MessageTime,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const origin = { domain, time, isOutReverse: domain.version === 9 || template.isNtop };
    let at = start;
    while (end - at >= template.minLength) {
      const next = this.#values.read(template, bytes, at, end);
      if (next < 0) {
        // Padding is shorter than any record, but a record of variable length may be longer than its shortest form.
        if (end - at > 7) this.#fault('netflow-truncated-record');
        return;
      }
      at = next;
      if (template.isOptions) this.#option(domain);
      else this.#hand(origin);
    }
  }

  #hand(origin: RecordOrigin): void {
    origin.domain.records++;
    this.#sink(this.#values, origin);
  }

  /** Notes what an options record says of sampling and of the exporter's clock. */
  #option(domain: Domain): void {
    domain.records++;
    domain.options++;
    const { numbers } = this.#values;
    const interval = numbers[SLOT.samplingInterval] as number;
    const space = numbers[SLOT.samplingSpace] as number;
    // RFC 5477: `interval` packets are taken, then `space` are left out; Cisco's interval is one in so many.
    if (interval > 0) domain.samplingInterval = space > 0 ? (interval + space) / interval : interval;
    const init = numbers[SLOT.systemInitMs] as number;
    if (init > 0) domain.systemInitMs = init;
  }

  #templates(message: ReceivedMessage, domain: Domain, isOptions: boolean, start: number, end: number): void {
    const { bytes, receivedMs } = message;
    let at = start;
    while (end - at >= 4) {
      const id = readUnsigned(bytes, at, 2);
      let count = readUnsigned(bytes, at + 2, 2);
      at += 4;
      if (id === 0 && count === 0) return; // padding
      if (isOptions && !(domain.version === 10 && count === 0)) {
        if (end - at < 2) {
          this.#fault('netflow-truncated-template');
          return;
        }
        // NetFlow v9 gives the bytes of scope and option fields, IPFIX the number of all and of the scope fields.
        if (domain.version === 9) count = Math.floor((count + readUnsigned(bytes, at, 2)) / 4);
        at += 2;
      }
      if (count === 0 && domain.version === 10) {
        this.#withdraw(domain, id);
        continue;
      }
      if (count > this.#limits.maxFields) {
        countName(this.counters.limits, 'netflow-template-fields');
        return;
      }
      const fields: TemplateField[] = [];
      for (let i = 0; i < count; i++) {
        if (end - at < 4) {
          this.#fault('netflow-truncated-template');
          return;
        }
        let element = readUnsigned(bytes, at, 2);
        const length = readUnsigned(bytes, at + 2, 2);
        let pen = 0;
        at += 4;
        if (domain.version === 10 && element >= 0x8000) {
          if (end - at < 4) {
            this.#fault('netflow-truncated-template');
            return;
          }
          pen = readUnsigned(bytes, at, 4);
          element -= 0x8000;
          at += 4;
        }
        fields.push({ pen, id: element, length });
      }
      const template = id < FIRST_DATA_SET ? undefined : compileTemplate(fields, isOptions);
      if (template === undefined) {
        this.#fault('netflow-invalid-template');
        continue;
      }
      for (const set of this.#table.setTemplate(domain, id, template, receivedMs)) {
        this.#data(template, domain, set.time, set.bytes, 0, set.bytes.length);
      }
    }
  }

  /** RFC 7011, section 8.1: a template without fields takes one back, or all of a kind by the number of its set. */
  #withdraw(domain: Domain, id: number): void {
    if (id >= FIRST_DATA_SET) {
      this.#table.removeTemplate(domain, id);
      return;
    }
    for (const [each, { template }] of domain.templates) {
      if (template.isOptions === (id === 3)) this.#table.removeTemplate(domain, each);
    }
  }

  #fault(code: string): void {
    countName(this.counters.malformed, code);
  }
}
