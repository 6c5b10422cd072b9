import type { AuditLog } from '../audit/index.ts';
import type { Clock } from '../base/index.ts';
import type { KeyStore } from '../crypto/index.ts';
import type { BlobStore, Database } from '../storage/index.ts';
import type { GateEvaluator } from './gate-evaluator.ts';
import type { LogIndex } from './log-index.ts';
import type { RegistryPolicy } from './policy.ts';
import type { RetentionConfig } from './retention-config.ts';

/** What the registry is built from. */
export interface RegistryParts {
  readonly keys: KeyStore;
  readonly log: AuditLog;
  readonly blobs: BlobStore;
  readonly db: Database;
  readonly clock: Clock;
  /** Fields left out are those of `DEFAULT_REGISTRY_POLICY`. */
  readonly policy?: Partial<RegistryPolicy>;
  /** Runs gates at the door; without one the submitter's report is all there is. */
  readonly evaluator?: GateEvaluator;
  /** What stays when models are pruned; `RETENTION_DEFAULTS` by default. */
  readonly retention?: RetentionConfig;
  /** Where copies of key wraps wait for a restore, apart from the wraps; none by default. */
  readonly escrow?: BlobStore;
  /** The versions of a model that decide now; they are neither pruned nor erased. */
  readonly serving?: (name: string) => readonly string[];
}

/** The parts and what the log says; shared by the registry's operations. */
export interface RegistryContext extends Omit<RegistryParts, 'policy' | 'retention'> {
  readonly index: LogIndex;
  readonly retention: RetentionConfig;
  readonly policy: RegistryPolicy;
}

/** Who does something; stands in the audit log. */
export interface Actor {
  readonly principal: string;
  /** How the principal showed who it is: people come by `oidc`, machines by `certificate`. Absent: not asked. */
  readonly method?: 'oidc' | 'certificate' | 'api-key' | 'local';
}
