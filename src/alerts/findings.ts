import { randomUUID } from 'node:crypto';
import type { Clock, Milliseconds } from '../base/index.ts';
import { NetworkSet } from '../response/index.ts';
import type { AlertsConfig } from './config.ts';
import type { Detection } from './detection.ts';
import { Finding, type JudgedRecord } from './finding.ts';
import { isInternal, kindEntry, UNNAMED_KIND } from './kinds.ts';

export interface FindingsOptions {
  readonly config: AlertsConfig;
  readonly clock: Clock;
  readonly newUid?: () => string;
}

/**
 * Groups flagged flows of one stream into findings by kind and source (or destination), in the time of that
 * stream. Gives back the states that became due, at most one create or update a finding and call. Pure but for its memory.
 */
export class Findings {
  readonly #config: AlertsConfig;
  readonly #clock: Clock;
  readonly #newUid: () => string;
  readonly #ownNetworks: NetworkSet;
  /** By group, the one that grew last at the end. */
  readonly #open = new Map<string, Finding>();
  #nowMs: Milliseconds = Number.NEGATIVE_INFINITY;
  #closedEarly = 0;

  constructor(options: FindingsOptions) {
    this.#config = options.config;
    this.#clock = options.clock;
    this.#newUid = options.newUid ?? randomUUID;
    const { ownNetworks } = options.config;
    this.#ownNetworks = new NetworkSet(ownNetworks.map((network) => ({ network, reason: 'own' })));
  }

  /** Groups that are followed now, raised or still short of evidence. */
  get size(): number {
    return this.#open.size;
  }

  /** Groups closed before their time because there were too many. */
  get closedEarly(): number {
    return this.#closedEarly;
  }

  add(records: readonly JudgedRecord[]): readonly Detection[] {
    const due = new Set<Finding>();
    const ended: Detection[] = [];
    for (const record of records) {
      if (record.score.verdict !== 'attack') continue;
      this.#closeUntil(record.flow.endMs, due, ended);
      const finding = this.#findingOf(record, due, ended);
      if (finding.add(record)) due.add(finding);
    }
    return [...[...due].map((finding) => this.#grow(finding)), ...ended];
  }

  /** Closes what has been still for a window at this time of the traffic. */
  advance(nowMs: Milliseconds): readonly Detection[] {
    const ended: Detection[] = [];
    this.#closeUntil(nowMs, new Set(), ended);
    return ended;
  }

  /** Closes everything: the end of the traffic. What comes next may be of any time. */
  finish(): readonly Detection[] {
    const ended: Detection[] = [];
    for (const key of [...this.#open.keys()]) this.#close(key, new Set(), ended);
    this.#nowMs = Number.NEGATIVE_INFINITY;
    return ended;
  }

  #findingOf(record: JudgedRecord, due: Set<Finding>, ended: Detection[]): Finding {
    const kind = record.score.kind ?? UNNAMED_KIND;
    const { groupedBy, minFlows } = kindEntry(kind);
    const { sourceAddress, destinationAddress } = record.flow;
    const key = `${kind} ${groupedBy === 'source' ? sourceAddress : destinationAddress}`;
    let finding = this.#open.get(key);
    if (finding === undefined) {
      if (this.#open.size >= this.#config.maxOpenFindings) {
        const [oldest] = this.#open.keys();
        this.#closedEarly++;
        this.#close(oldest as string, due, ended);
      }
      const configured = Object.hasOwn(this.#config.minFlows, kind) ? this.#config.minFlows[kind] : undefined;
      finding = new Finding({
        uid: this.#newUid(),
        kind,
        first: record,
        minFlows: configured ?? minFlows,
        isSourceInternal: isInternal(sourceAddress, this.#ownNetworks),
      });
    }
    this.#open.delete(key);
    this.#open.set(key, finding);
    return finding;
  }

  #closeUntil(nowMs: Milliseconds, due: Set<Finding>, ended: Detection[]): void {
    // A flow may end a little before one that came earlier; time only moves forward here.
    if (nowMs <= this.#nowMs) return;
    this.#nowMs = nowMs;
    for (const [key, finding] of this.#open) {
      if (finding.lastSeenMs > nowMs - this.#config.windowMs) break;
      this.#close(key, due, ended);
    }
  }

  /** A group that never had enough evidence ends without a trace. */
  #close(key: string, due: Set<Finding>, ended: Detection[]): void {
    const finding = this.#open.get(key) as Finding;
    this.#open.delete(key);
    if (due.delete(finding) && !finding.isRaised) ended.push(this.#grow(finding));
    if (finding.isRaised) ended.push(finding.snapshot('close', this.#clock.now()));
  }

  #grow(finding: Finding): Detection {
    return finding.snapshot('grow', this.#clock.now());
  }
}
