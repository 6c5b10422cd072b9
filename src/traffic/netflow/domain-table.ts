import type { Milliseconds } from '../../base/index.ts';
import { countName } from '../counters.ts';
import type { SourceCounters } from '../flow.ts';
import type { NetflowLimits } from './netflow-limits.ts';
import type { Template } from './template.ts';

/** Where a message stands in time, as its header says. */
export interface MessageTime {
  /** When it was exported, ms since 1970. */
  readonly exportMs: Milliseconds;
  /** Uptime of the exporter then; NaN in IPFIX. */
  readonly uptimeMs: Milliseconds;
}

/** A data set whose template has not come yet. */
export interface WaitingSet {
  readonly setId: number;
  readonly bytes: Uint8Array;
  readonly time: MessageTime;
  readonly receivedMs: Milliseconds;
}

interface HeldTemplate {
  readonly template: Template;
  receivedMs: Milliseconds;
}

/** One observation domain (source id, engine) of one exporter session, and what it has announced. */
export interface Domain {
  /** Address of the exporter. */
  readonly exporter: string;
  /** 5, 9 or 10 (IPFIX). */
  readonly version: number;
  readonly id: number;
  readonly templates: Map<number, HeldTemplate>;
  waiting: WaitingSet[];
  /** Sequence number that the next message should have; undefined where it cannot be known. */
  nextSequence: number | undefined;
  /** IPFIX: the number of the message before. */
  lastSequence: number | undefined;
  /** Packets that one metered packet stands for; undefined where the exporter did not say. */
  samplingInterval: number | undefined;
  /** When the exporter's uptime began, from options data (systemInitTimeMilliseconds); else NaN. */
  systemInitMs: Milliseconds;
  exportMs: Milliseconds;
  messages: number;
  /** Records read, those of options among them. */
  records: number;
  options: number;
  /** Messages (NetFlow v9) or records (v5, IPFIX) that the sequence numbers say were lost. */
  lost: number;
}

/** Observation domains by session, bounded in number, templates and waiting data. */
export class DomainTable {
  readonly #limits: NetflowLimits;
  readonly #counters: SourceCounters;
  readonly #domains = new Map<string, Domain>();
  #fields = 0;
  #waitingSets = 0;
  #waitingBytes = 0;

  constructor(limits: NetflowLimits, counters: SourceCounters) {
    this.#limits = limits;
    this.#counters = counters;
  }

  /** Every domain, the one heard of last at the end. */
  get domains(): IterableIterator<Domain> {
    return this.#domains.values();
  }

  /** The domain of a message. `session` tells one exporting process from another on the same machine. */
  find(exporter: string, session: string, version: number, id: number): Domain {
    const key = `${exporter} ${session} ${version} ${id}`;
    let domain = this.#domains.get(key);
    if (domain !== undefined) this.#domains.delete(key);
    else {
      if (this.#domains.size >= this.#limits.maxDomains) this.#dropOldest();
      domain = {
        exporter,
        version,
        id,
        templates: new Map(),
        waiting: [],
        nextSequence: undefined,
        lastSequence: undefined,
        samplingInterval: undefined,
        systemInitMs: Number.NaN,
        exportMs: 0,
        messages: 0,
        records: 0,
        options: 0,
        lost: 0,
      };
    }
    this.#domains.set(key, domain);
    return domain;
  }

  template(domain: Domain, setId: number, nowMs: Milliseconds): Template | undefined {
    const held = domain.templates.get(setId);
    if (held === undefined) return undefined;
    if (nowMs - held.receivedMs <= this.#limits.templateLifetimeMs) return held.template;
    this.removeTemplate(domain, setId);
    countName(this.#counters.ignored, 'netflow-expired-template');
    return undefined;
  }

  /** Takes a template, in the place of the one it had; returns the data sets that waited for it. */
  setTemplate(domain: Domain, setId: number, template: Template, nowMs: Milliseconds): readonly WaitingSet[] {
    this.removeTemplate(domain, setId);
    if (domain.templates.size >= this.#limits.maxTemplates) {
      countName(this.#counters.limits, 'netflow-templates');
      return [];
    }
    if (this.#fields + template.fieldCount > this.#limits.maxFieldsTotal) {
      countName(this.#counters.limits, 'netflow-template-fields');
      return [];
    }
    this.#fields += template.fieldCount;
    domain.templates.set(setId, { template, receivedMs: nowMs });
    if (domain.waiting.length === 0) return [];
    const found = domain.waiting.filter((set) => set.setId === setId);
    this.#replaceWaiting(
      domain,
      domain.waiting.filter((set) => set.setId !== setId),
    );
    return found.filter((set) => nowMs - set.receivedMs <= this.#limits.waitMs);
  }

  removeTemplate(domain: Domain, setId: number): void {
    this.#fields -= domain.templates.get(setId)?.template.fieldCount ?? 0;
    domain.templates.delete(setId);
  }

  /** Keeps a copy of a data set until its template comes, within the limits. */
  wait(domain: Domain, set: WaitingSet): void {
    countName(this.#counters.ignored, 'netflow-data-before-template');
    const { waitMs, maxWaitingSets, maxWaitingBytes } = this.#limits;
    if (domain.waiting.some(({ receivedMs }) => set.receivedMs - receivedMs > waitMs)) {
      this.#replaceWaiting(
        domain,
        domain.waiting.filter(({ receivedMs }) => set.receivedMs - receivedMs <= waitMs),
      );
    }
    const isFull =
      this.#waitingSets >= maxWaitingSets || this.#waitingBytes + set.bytes.length > maxWaitingBytes;
    if (isFull) {
      countName(this.#counters.limits, 'netflow-waiting-data');
      return;
    }
    domain.waiting.push({ ...set, bytes: set.bytes.slice() });
    this.#waitingSets++;
    this.#waitingBytes += set.bytes.length;
  }

  #replaceWaiting(domain: Domain, sets: WaitingSet[]): void {
    const bytes = (list: readonly WaitingSet[]) => list.reduce((sum, set) => sum + set.bytes.length, 0);
    this.#waitingSets += sets.length - domain.waiting.length;
    this.#waitingBytes += bytes(sets) - bytes(domain.waiting);
    domain.waiting = sets;
  }

  #dropOldest(): void {
    for (const [key, domain] of this.#domains) {
      for (const id of domain.templates.keys()) this.removeTemplate(domain, id);
      this.#replaceWaiting(domain, []);
      this.#domains.delete(key);
      countName(this.#counters.limits, 'netflow-domains');
      return;
    }
  }
}
