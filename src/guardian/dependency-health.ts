import type { DetectionStore } from '../alerts/index.ts';
import type { AuditLog } from '../audit/index.ts';
import type { Metrics } from '../base/index.ts';
import type { Database } from '../storage/index.ts';

/** For each thing that the guardian stands on: the code of what keeps it from being used, null where it was used last. */
export interface DependencyHealth {
  readonly database: string | null;
  /** Appending to the audit log. */
  readonly audit: string | null;
  /** Signing it: away with the key store, or while there is no room. */
  readonly checkpoints: string | null;
}

export interface Dependencies {
  readonly database: Pick<Database, 'failing'>;
  readonly log: Pick<AuditLog, 'health'>;
  readonly detections: Pick<DetectionStore, 'stats'>;
}

export function dependencyHealth({ database, log }: Dependencies): DependencyHealth {
  const { appending, signing } = log.health;
  return { database: database.failing(), audit: appending, checkpoints: signing };
}

/** Registers what is away, and what waits for it. */
export function observeDependencies(metrics: Metrics, parts: Dependencies): void {
  const up = (name: keyof DependencyHealth, help: string) =>
    metrics.gauge(`${name}_up`, help, () => (dependencyHealth(parts)[name] === null ? 1 : 0));
  up('database', 'Whether the database answered the last query.');
  up('audit', 'Whether the last entry of the audit log could be written.');
  up('checkpoints', 'Whether the last checkpoint of the audit log could be signed and stored.');
  metrics.gauge(
    'audit_unsigned_entries',
    'Durable entries that no signed checkpoint covers yet.',
    () => parts.log.health.unsigned,
  );
  metrics.gauge(
    'audit_owed_outcomes',
    'Outcomes of what was done that wait for room on the disk.',
    () => parts.log.health.owed,
  );
  metrics.gauge(
    'unsaved_detections',
    'States of findings that wait in memory for the database.',
    () => parts.detections.stats.unsaved,
  );
}
