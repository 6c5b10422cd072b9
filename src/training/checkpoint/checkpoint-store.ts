/**
 * Keeps the state of one run between its steps. Training makes and reads the bytes; how they are sealed, and by whose key,
 * is the store's own.
 */
export interface CheckpointStore {
  /** The last state that was saved for this run; undefined where it is to begin anew. Owned by the caller. */
  load(): Promise<Uint8Array | undefined>;
  /** Durable when resolved; the bytes are the caller's again then. What it throws ends no training. */
  save(state: Uint8Array): Promise<void>;
}
