export { AccessKeyQueries, type AccessKeyRow } from './access-keys.ts';
export { type AliasChangeRow, AliasQueries, type AliasRow } from './aliases.ts';
export { type BlobStore, openDirectoryBlobStore, type Promotion, type StorageHealth } from './blob-store.ts';
export { type ConfiguredBlobs, openConfiguredBlobs } from './configured-blobs.ts';
export { type Database, openDatabase } from './database.ts';
export {
  type DetectionFilter,
  type DetectionListOptions,
  DetectionQueries,
  type DetectionRow,
  type OutboxActivity,
  type OutboxRow,
} from './detections.ts';
export {
  isDatabaseAway,
  isWriterAway,
  STORAGE_ERRORS,
  StorageError,
  type StorageErrorCode,
} from './errors.ts';
export { EventResultQueries, type EventResultRow } from './event-results.ts';
export { claimLogFolder } from './log-folder.ts';
export { type PostgresConfig, parsePostgresUrl, postgresConfigSchema } from './postgres-config.ts';
export {
  type LeasedDatabase,
  openPostgresDatabase,
  type PostgresDatabaseOptions,
} from './postgres-database.ts';
export { fencedBlobs } from './postgres-fence.ts';
export type { WriterLease } from './postgres-lease.ts';
export { migratePostgres } from './postgres-migrate.ts';
export { SettingQueries } from './settings.ts';
export { migrateSqlite } from './sqlite-connection.ts';
export {
  claimState,
  configFolder,
  type StateLayout,
  type StateOwner,
  stateFolder,
  stateLayout,
} from './state.ts';
export { SuppressionQueries, type SuppressionRow } from './suppressions.ts';
export { type VerdictCount, VerdictQueries, type VerdictRow } from './verdicts.ts';
export { VersionQueries, type VersionRow } from './versions.ts';
export type { WrapStore } from './wraps.ts';
export { openZfsBlobStore, type ZfsBlobStore, type ZfsBlobStoreOptions } from './zfs-blob-store.ts';
export type { PoolHealth, ZfsHealth, ZfsScan } from './zfs-health.ts';
export { type ReplicatedDataset, type ReplicationOptions, replicateRegistry } from './zfs-replication.ts';
export type { ZfsAnswer, ZfsRunner, ZfsStreamAnswer, ZfsTool } from './zfs-runner.ts';
export type { PromotionSnapshot } from './zfs-snapshots.ts';
