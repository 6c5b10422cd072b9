import { dirname, join } from 'node:path';
import { AccessKeyQueries } from './access-keys.ts';
import { AliasQueries } from './aliases.ts';
import type { Connection } from './connection.ts';
import { DetectionQueries } from './detections.ts';
import { EventResultQueries } from './event-results.ts';
import { SettingQueries } from './settings.ts';
import { openSqlite } from './sqlite-connection.ts';
import { SuppressionQueries } from './suppressions.ts';
import { VerdictQueries } from './verdicts.ts';
import { VersionQueries } from './versions.ts';
import { openWrapStore, type WrapStore } from './wraps.ts';

/** Typed query sets; no other room sees SQL. Each write is durable when its promise resolves. */
export interface Database {
  readonly versions: VersionQueries;
  readonly aliases: AliasQueries;
  readonly wraps: WrapStore;
  readonly detections: DetectionQueries;
  readonly accessKeys: AccessKeyQueries;
  readonly settings: SettingQueries;
  readonly verdicts: VerdictQueries;
  readonly suppressions: SuppressionQueries;
  readonly eventResults: EventResultQueries;
  /** Code of what keeps the database from answering, as the last query found it; null where that was answered. */
  failing(): string | null;
  close(): Promise<void>;
}

/**
 * Opens or makes the database at `path` and, beside it, the folder `wraps`. The caller owns the state folder
 * (`claimState`). Throws `storage.database-newer` and `storage.database-failed`.
 */
export async function openDatabase(path: string): Promise<Database> {
  const wraps = await openWrapStore(join(dirname(path), 'wraps'));
  return databaseOver(await openSqlite(path), wraps);
}

/** The query sets over one connection; they do not know which database it leads to. */
export function databaseOver(connection: Connection, wraps: WrapStore): Database {
  return {
    versions: new VersionQueries(connection),
    aliases: new AliasQueries(connection),
    wraps,
    detections: new DetectionQueries(connection),
    accessKeys: new AccessKeyQueries(connection),
    settings: new SettingQueries(connection),
    verdicts: new VerdictQueries(connection),
    suppressions: new SuppressionQueries(connection),
    eventResults: new EventResultQueries(connection),
    failing: () => connection.failing,
    close: () => connection.close(),
  };
}
