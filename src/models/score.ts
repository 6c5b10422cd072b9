import type { Digest, Probability } from '../base/index.ts';
import type { Contribution } from './detection-model.ts';

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
  readonly certificate: 'absent' | 'suspended' | 'refused' | 'active';
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
