export { AccessKeyQueries, type AccessKeyRow } from './access-keys.ts';
export { type AliasChangeRow, AliasQueries, type AliasRow } from './aliases.ts';
export { type BlobStore, openDirectoryBlobStore } from './blob-store.ts';
export { type Database, openDatabase } from './database.ts';
export {
  type DetectionFilter,
  type DetectionListOptions,
  DetectionQueries,
  type DetectionRow,
  type OutboxActivity,
  type OutboxRow,
} from './detections.ts';
export { STORAGE_ERRORS, StorageError, type StorageErrorCode } from './errors.ts';
export { SettingQueries } from './settings.ts';
export {
  claimState,
  configFolder,
  type StateLayout,
  type StateOwner,
  stateFolder,
  stateLayout,
} from './state.ts';
export { VersionQueries, type VersionRow } from './versions.ts';
export type { WrapStore } from './wraps.ts';
