import type {
  AuditLog,
  AuditLogHealth,
  ConsistencyProof,
  InclusionProof,
  IndexedEntry,
} from './audit-log.ts';
import type { SignedCheckpoint } from './checkpoint.ts';
import type { AuditEntry, AuditInput } from './entry.ts';

/** Tells whether this process is still the one writer. */
export interface WriterFence {
  /** Resolves where it was at some time after the call; throws where it is not, or where that cannot be known. */
  confirm(): Promise<void>;
}

/**
 * A log of which several processes could be the writer. It asks before it writes, so that a writer that was fenced off
 * leaves the log alone, and again before it says that an entry is there: whoever took over in between may have copied
 * the files before that entry was in them. An entry that is not confirmed may be in the log, as after a crash.
 */
export function fencedAuditLog(log: AuditLog, fence: WriterFence): AuditLog {
  return new FencedAuditLog(log, fence);
}

class FencedAuditLog implements AuditLog {
  readonly #log: AuditLog;
  readonly #fence: WriterFence;

  constructor(log: AuditLog, fence: WriterFence) {
    this.#log = log;
    this.#fence = fence;
  }

  get origin(): string {
    return this.#log.origin;
  }

  get size(): number {
    return this.#log.size;
  }

  get health(): AuditLogHealth {
    return this.#log.health;
  }

  append(input: AuditInput): Promise<number> {
    return this.#fenced(() => this.#log.append(input));
  }

  checkpoint(): Promise<SignedCheckpoint> {
    return this.#fenced(() => this.#log.checkpoint());
  }

  inclusionProof(index: number): Promise<InclusionProof> {
    return this.#fenced(() => this.#log.inclusionProof(index));
  }

  entry(index: number): Promise<AuditEntry> {
    return this.#explained(() => this.#log.entry(index));
  }

  async *entries(from?: number, to?: number): AsyncGenerator<IndexedEntry> {
    try {
      yield* this.#log.entries(from, to);
    } catch (error) {
      await this.#fence.confirm();
      throw error;
    }
  }

  openIntents(): Promise<readonly IndexedEntry[]> {
    return this.#log.openIntents();
  }

  consistencyProof(from: number, to: number): Promise<ConsistencyProof> {
    return this.#explained(() => this.#log.consistencyProof(from, to));
  }

  /** One that was fenced off closes its files and leaves the rest to who took over. */
  async close(): Promise<void> {
    const isWriter = await this.#fence.confirm().then(
      () => true,
      () => false,
    );
    await this.#log.close().catch((error: unknown) => {
      if (isWriter) throw error;
    });
  }

  async #fenced<T>(work: () => Promise<T>): Promise<T> {
    await this.#fence.confirm();
    const value = await this.#explained(work);
    await this.#fence.confirm();
    return value;
  }

  /** To a writer that was fenced off its files are gone: that is no sign of tampering. */
  async #explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#fence.confirm();
      throw error;
    }
  }
}
