import type { Milliseconds } from '../base/index.ts';
import type { Score } from '../models/index.ts';
import type { Decision, DecisionVerdict } from '../response/index.ts';
import type { FlowRecord } from '../traffic/index.ts';
import { COUNTED_DISTINCT, type Detection, type FlowSample, type Party } from './detection.ts';
import { kindEntry, severityOf, techniqueOf } from './kinds.ts';

/** A flow that was scored and decided on; those whose verdict is not `attack` are passed over. */
export interface JudgedRecord {
  readonly flow: FlowRecord;
  readonly score: Score;
  readonly decision: Decision;
}

const SAMPLED = 8;
const EVIDENCE_FLOWS = 5;

const RANK: Readonly<Record<DecisionVerdict, number>> = {
  allow: 0,
  observe: 1,
  vetoed: 2,
  'would-block': 3,
  block: 4,
};

export interface FindingStart {
  readonly uid: string;
  readonly kind: string;
  readonly first: JudgedRecord;
  /** Flagged flows before it is raised. */
  readonly minFlows: number;
  /** Whether its first source is one of our own hosts. */
  readonly isSourceInternal: boolean;
}

/** A finding that is still growing. Bounded, whatever the attacker sends. */
export class Finding {
  readonly uid: string;
  readonly kind: string;
  readonly #isSourceInternal: boolean;
  readonly #source = new Side();
  readonly #destination = new Side();
  readonly #samples: FlowSample[] = [];
  #strongest: JudgedRecord;
  #decision: Decision;
  #flows = 0;
  #packets = 0;
  #bytes = 0;
  #confidence = 0;
  #firstSeenMs = Number.POSITIVE_INFINITY;
  #lastSeenMs = Number.NEGATIVE_INFINITY;
  #raisedAt: Milliseconds | undefined;
  #revision = 0;
  /** The next state is due at this many flows: each doubling, so that a flood makes a handful of states. */
  #nextAt: number;

  constructor(start: FindingStart) {
    this.uid = start.uid;
    this.kind = start.kind;
    this.#isSourceInternal = start.isSourceInternal;
    this.#strongest = start.first;
    this.#decision = start.first.decision;
    this.#nextAt = start.minFlows;
  }

  get lastSeenMs(): Milliseconds {
    return this.#lastSeenMs;
  }

  get isRaised(): boolean {
    return this.#raisedAt !== undefined;
  }

  /** Takes a flow in; true where a new state of the finding is due. */
  add(record: JudgedRecord): boolean {
    const { flow, score, decision } = record;
    this.#flows++;
    this.#packets += (flow.forward.packets || 0) + (flow.backward.packets || 0);
    this.#bytes += (flow.forward.bytes || 0) + (flow.backward.bytes || 0);
    this.#source.add(flow.sourceAddress, flow.sourcePort);
    this.#destination.add(flow.destinationAddress, flow.destinationPort);
    this.#firstSeenMs = Math.min(this.#firstSeenMs, flow.startMs);
    this.#lastSeenMs = Math.max(this.#lastSeenMs, flow.endMs);
    this.#confidence = Math.max(this.#confidence, score.confidence);
    if (score.probability > this.#strongest.score.probability) this.#strongest = record;
    if (this.#samples.length < EVIDENCE_FLOWS) this.#samples.push(sampleOf(record));
    const isFurther = RANK[decision.verdict] > RANK[this.#decision.verdict];
    if (isFurther) this.#decision = decision;
    return this.#flows >= this.#nextAt || (isFurther && this.isRaised);
  }

  /** The finding as it stands; counts as its next state. `now` is wall time. */
  snapshot(activity: 'grow' | 'close', now: Milliseconds, suppressedBy?: string): Detection {
    const isNew = this.#raisedAt === undefined;
    this.#raisedAt ??= now;
    this.#nextAt = Math.max(this.#nextAt, this.#flows) * 2;
    const { score, flow } = this.#strongest;
    const { verdict, reason, vetoedBy, action, sourceProven } = this.#decision;
    const source = this.#source.party();
    const technique = techniqueOf(this.kind, this.#isSourceInternal);
    const entry = kindEntry(this.kind);
    const detection: Detection = {
      v: 1,
      uid: this.uid,
      activity: activity === 'close' ? 'close' : isNew ? 'create' : 'update',
      revision: ++this.#revision,
      time: this.#raisedAt,
      modifiedMs: now,
      firstSeenMs: this.#firstSeenMs,
      lastSeenMs: this.#lastSeenMs,
      kind: this.kind,
      title: entry.title,
      ...(technique !== undefined && { technique }),
      severity: severityOf(this.kind, this.#isSourceInternal, this.#confidence),
      groupedBy: entry.groupedBy,
      source,
      destination: this.#destination.party(),
      flows: this.#flows,
      packets: this.#packets,
      bytes: this.#bytes,
      score: { probability: score.probability, confidence: this.#confidence },
      decision: {
        verdict,
        reason,
        sourceProven,
        ...(vetoedBy !== undefined && { vetoedBy }),
        ...(action !== undefined && { action }),
      },
      certificate: score.certificate,
      model: score.model,
      sourceKind: flow.sourceKind,
      evidence: { flows: [...this.#samples], topFeatures: score.topFeatures ?? [] },
      ...(suppressedBy !== undefined && { suppressedBy }),
    };
    return Object.freeze(detection);
  }
}

/** Addresses and ports seen on one side. */
class Side {
  readonly #addresses = new Set<string>();
  readonly #ports = new Set<number>();

  add(address: string, port: number): void {
    if (this.#addresses.size < COUNTED_DISTINCT) this.#addresses.add(address);
    if (this.#ports.size < COUNTED_DISTINCT) this.#ports.add(port);
  }

  party(): Party {
    const addresses = [...this.#addresses.values().take(SAMPLED)];
    return {
      address: addresses[0] ?? '',
      addresses,
      addressCount: this.#addresses.size,
      ports: [...this.#ports.values().take(SAMPLED)],
      portCount: this.#ports.size,
    };
  }
}

function sampleOf({ flow, score }: JudgedRecord): FlowSample {
  const { protocol, sourceAddress, sourcePort, destinationAddress, destinationPort, startMs, endMs, state } =
    flow;
  return {
    protocol,
    sourceAddress,
    sourcePort,
    destinationAddress,
    destinationPort,
    startMs,
    endMs,
    state,
    probability: score.probability,
  };
}
