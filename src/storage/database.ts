import { dirname, join } from 'node:path';
import { AccessKeyQueries } from './access-keys.ts';
import { AliasQueries } from './aliases.ts';
import { Connection } from './connection.ts';
import { DetectionQueries } from './detections.ts';
import { SettingQueries } from './settings.ts';
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
  close(): Promise<void>;
}

/**
 * Opens or makes the database at `path` and, beside it, the folder `wraps`. The caller owns the state folder
 * (`claimState`). Throws `storage.database-newer` and `storage.database-failed`.
 */
export async function openDatabase(path: string): Promise<Database> {
  const wraps = await openWrapStore(join(dirname(path), 'wraps'));
  const connection = new Connection(path);
  return {
    versions: new VersionQueries(connection),
    aliases: new AliasQueries(connection),
    wraps,
    detections: new DetectionQueries(connection),
    accessKeys: new AccessKeyQueries(connection),
    settings: new SettingQueries(connection),
    close: async () => connection.close(),
  };
}
