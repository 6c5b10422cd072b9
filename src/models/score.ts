import type { Digest, Probability } from '../base/index.ts';
import type { Contribution } from './detection-model.ts';

/**
 * How far the model may be trusted to decide alone, for this row:
 * - `absent`: it has no certificate.
 * - `refused`: it has one that permits nothing here: from the lab or public data, for another threshold or source kind.
 * - `suspended`: live traffic has not passed the shift test, or no longer does, or the certificate has expired.
 * - `uncovered`: it is active, but speaks of surer decisions than this one.
 * - `active`: it speaks of this decision.
 */
export type CertificateState = 'absent' | 'suspended' | 'refused' | 'uncovered' | 'active';

/** What the engine says of one row; one immutable record from here to the alert. */
export interface Score {
  /** Calibrated P(attack). */
  readonly probability: Probability;
  readonly verdict: 'attack' | 'benign' | 'abstain';
  /** Attack kind, where the model names one. */
  readonly kind?: string;
  /** max(p, 1 - p). */
  readonly confidence: Probability;
  /** Why it abstained or is degraded. */
  readonly reason?: string;
  readonly model: { readonly name: string; readonly version: string; readonly digest: Digest };
  readonly certificate: CertificateState;
  readonly topFeatures?: readonly Contribution[];
  /** Present where an attack row is like nothing in training, normal or attack. */
  readonly novelty?: {
    readonly says: 'unlike anything in training';
    /** To the nearest row of training, in standard deviations of normal traffic. */
    readonly distance: number;
    /** The known attack class it comes nearest to. */
    readonly nearest?: string;
  };
}
