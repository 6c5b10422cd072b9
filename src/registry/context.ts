import type { AuditLog } from '../audit/index.ts';
import type { Clock } from '../base/index.ts';
import type { KeyStore } from '../crypto/index.ts';
import type { BlobStore, Database } from '../storage/index.ts';
import type { LogIndex } from './log-index.ts';

/** What the registry is built from. */
export interface RegistryParts {
  readonly keys: KeyStore;
  readonly log: AuditLog;
  readonly blobs: BlobStore;
  readonly db: Database;
  readonly clock: Clock;
}

/** The parts and what the log says; shared by the registry's operations. */
export interface RegistryContext extends RegistryParts {
  readonly index: LogIndex;
}

/** Who does something; stands in the audit log. */
export interface Actor {
  readonly principal: string;
  /** How the principal showed who it is; absent where nobody asked. Only `oidc` and `certificate` are personal. */
  readonly method?: 'oidc' | 'certificate' | 'api-key' | 'local';
}
