import type { Milliseconds, Probability } from '../base/index.ts';
import type { Score } from '../models/index.ts';
import type { Decision } from '../response/index.ts';
import type { ConnectionState, SourceKind } from '../traffic/index.ts';
import { AlertsError } from './errors.ts';
import type { Technique } from './kinds.ts';
import type { Severity } from './severity.ts';

/** Distinct addresses and ports are told apart up to this many a side. */
export const COUNTED_DISTINCT = 1_024;

/** One side of a finding, which may be many hosts. */
export interface Party {
  /** The first address seen; where the finding is grouped by this side, the only one. */
  readonly address: string;
  /** The first few distinct addresses. */
  readonly addresses: readonly string[];
  /** Distinct addresses; counted up to `COUNTED_DISTINCT`, then it stands still. */
  readonly addressCount: number;
  /** The first few distinct ports. */
  readonly ports: readonly number[];
  readonly portCount: number;
}

/** A flow kept as evidence. */
export interface FlowSample {
  readonly protocol: number;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
  readonly startMs: Milliseconds;
  readonly endMs: Milliseconds;
  readonly state: ConnectionState;
  readonly probability: Probability;
}

/** One finding as it stands: flows of one source (or destination) and one kind within a window. Immutable. */
export interface Detection {
  readonly v: 1;
  readonly uid: string;
  readonly activity: 'create' | 'update' | 'close';
  /** Grows with each state of the same finding, from 1. */
  readonly revision: number;
  /** When the finding was raised, wall time. */
  readonly time: Milliseconds;
  /** When this state of it was made, wall time. */
  readonly modifiedMs: Milliseconds;
  /** In the time of the traffic. */
  readonly firstSeenMs: Milliseconds;
  readonly lastSeenMs: Milliseconds;
  /** Attack kind, or `unnamed` where the model names none. */
  readonly kind: string;
  readonly title: string;
  /** Absent where the kind is not known to ATT&CK. */
  readonly technique?: Technique;
  readonly severity: Severity;
  readonly groupedBy: 'source' | 'destination';
  readonly source: Party;
  readonly destination: Party;
  /** Flagged flows. */
  readonly flows: number;
  readonly packets: number;
  readonly bytes: number;
  /** The highest of its flows. */
  readonly score: { readonly probability: Probability; readonly confidence: Probability };
  /** The decision that went furthest. */
  readonly decision: Pick<Decision, 'verdict' | 'reason' | 'vetoedBy' | 'action' | 'sourceProven'>;
  readonly certificate: Score['certificate'];
  readonly model: Score['model'];
  readonly sourceKind: SourceKind;
  readonly evidence: {
    readonly flows: readonly FlowSample[];
    readonly topFeatures: NonNullable<Score['topFeatures']>;
  };
  /** Rule that silences its notices; it is stored all the same. */
  readonly suppressedBy?: string;
}

/** Reads a stored detection back. Throws `alerts.malformed-detection`. */
export function readDetection(stored: Readonly<Record<string, unknown>>): Detection {
  if (stored.v !== 1 || typeof stored.uid !== 'string') {
    throw new AlertsError('alerts.malformed-detection', `expected a detection of format 1, got ${stored.v}`);
  }
  return stored as unknown as Detection;
}
