import { join } from 'node:path';
import { type Clock, faultPoint, GuardianError, type Milliseconds, writeFileAtomic } from '../base/index.ts';
import { isKeysAway, type KeyStore } from '../crypto/index.ts';
import type {
  AuditLog,
  AuditLogHealth,
  ConsistencyProof,
  InclusionProof,
  IndexedEntry,
} from './audit-log.ts';
import { type SignedCheckpoint, signCheckpoint } from './checkpoint.ts';
import { type AuditEntry, type AuditInput, decodeEntry, encodeEntry } from './entry.ts';
import { AuditError, isNoRoom } from './errors.ts';
import type { LogFiles } from './log-files.ts';
import { type CompactRange, leafHash, treeRoot } from './merkle.ts';
import { proveConsistency, proveInclusion } from './prove.ts';
import { pointAt, RESUME_SPACING, type ResumePoint, resumePath, signResumePoint } from './resume-point.ts';
import type { TileHash } from './scan-log.ts';
import { frameEntry, TILE_WIDTH } from './tile-files.ts';
import { VerifiedBundles } from './verified-bundles.ts';

/** When a checkpoint is signed by itself, besides at close and on demand. */
export interface CheckpointPolicy {
  /** After this many entries. */
  readonly entries: number;
  /** This long after an append. */
  readonly delayMs: Milliseconds;
}

export const DEFAULT_CHECKPOINT_POLICY: CheckpointPolicy = { entries: 256, delayMs: 1000 };

/** Everything a writer goes on from; made by `openAuditLog` out of a verified scan. */
export interface LogState {
  readonly folder: string;
  readonly keys: KeyStore;
  readonly clock: Clock;
  readonly policy: CheckpointPolicy;
  readonly files: LogFiles;
  readonly checkpoint: SignedCheckpoint;
  /** The id of the key that signed the checkpoint, if it is the active one. */
  readonly signedBy: string | undefined;
  readonly range: CompactRange;
  readonly levels: Buffer[][];
  readonly openIntents: Map<number, AuditEntry>;
  /** The last one that was found while opening and may be stored. */
  readonly resumePoint: ResumePoint | undefined;
  readonly onCheckpoint: ((checkpoint: SignedCheckpoint) => void) | undefined;
  /** Told once of each reason for which a checkpoint could not be signed in the background, and of undefined when one was. */
  readonly onSigning: ((failure: string | undefined) => void) | undefined;
  readonly onClose: () => void;
}

interface Waiting {
  readonly entry: AuditEntry;
  readonly bytes: Buffer;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
}

/** The log in C2SP tlog-tiles files. */
export class MerkleAuditLog implements AuditLog {
  readonly #state: LogState;
  readonly #queue: Waiting[] = [];
  /** Outcomes that found no room. Their callers were refused; what they tell has happened, so they go first. */
  #owed: Waiting[] = [];
  /** Hashes of durable entries that found no room; until they are stored nothing is appended and nothing signed. */
  #owedHashes: readonly TileHash[] = [];
  #appending: string | null = null;
  #signing: string | null = null;
  /** Intents whose outcome waits in the queue. */
  readonly #closing = new Set<number>();
  readonly #bundles: VerifiedBundles;
  /** Entries whose hashes are stored too. */
  #size: number;
  /** Resume points that wait until enough follows them, oldest first. */
  readonly #resumePoints: ResumePoint[] = [];
  #checkpoint: SignedCheckpoint;
  #signedBy: string | undefined;
  /** The end of the line of what touches the files: one after the other. */
  #line: Promise<unknown> = Promise.resolve();
  #isDraining = false;
  #broken: AuditError | undefined;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(state: LogState) {
    this.#state = state;
    this.#checkpoint = state.checkpoint;
    this.#signedBy = state.signedBy;
    this.#size = state.range.size;
    this.#bundles = new VerifiedBundles(state.folder, state.levels);
    if (state.resumePoint !== undefined) this.#resumePoints.push(state.resumePoint);
  }

  get origin(): string {
    return this.#checkpoint.origin;
  }

  get size(): number {
    return this.#size;
  }

  get health(): AuditLogHealth {
    return {
      unsigned: this.#size - this.#checkpoint.size,
      owed: this.#owed.length,
      appending: this.#broken?.code ?? this.#appending,
      signing: this.#signing,
    };
  }

  async append(input: AuditInput): Promise<number> {
    this.#refuseIfEnded();
    const entry = this.#complete(input);
    const bytes = encodeEntry(entry);
    this.#expectOpenIntent(entry);
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, bytes, resolve, reject });
      if (this.#isDraining) return;
      this.#isDraining = true;
      void this.#inLine(() => this.#drain());
    });
  }

  async entry(index: number): Promise<AuditEntry> {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.size) {
      throw new AuditError('audit.entry-missing', `expected an index below ${this.size}, got ${index}`);
    }
    for await (const { entry } of this.entries(index, index + 1)) return entry;
    throw new AuditError('audit.truncated', `entry ${index} is gone from its bundle`);
  }

  async *entries(from = 0, to = this.size): AsyncGenerator<IndexedEntry> {
    const end = Math.min(to, this.size);
    for (let index = from; index < end; ) {
      const bundle = Math.floor(index / TILE_WIDTH);
      const first = bundle * TILE_WIDTH;
      const entries = await this.#readBundle(bundle);
      for (; index < Math.min(end, first + TILE_WIDTH); index++) {
        if (index - first >= entries.length)
          throw new AuditError('audit.truncated', `entry ${index} is gone from its bundle`);
        const bytes = entries[index - first];
        if (bytes === undefined)
          throw new AuditError('audit.entry-changed', `entry ${index} is not what the log's hash says`);
        yield { index, entry: decodeEntry(bytes) };
      }
    }
  }

  async #readBundle(bundle: number): Promise<readonly (Buffer | undefined)[]> {
    try {
      return await this.#bundles.read(bundle);
    } catch {
      // The hashes of a tile that has just become full may be on their way to the disk.
      return this.#inLine(async () => {
        await this.#storeOwedHashes();
        return await this.#bundles.read(bundle);
      });
    }
  }

  async openIntents(): Promise<readonly IndexedEntry[]> {
    return [...this.#state.openIntents].map(([index, entry]) => ({ index, entry }));
  }

  async checkpoint(): Promise<SignedCheckpoint> {
    this.#refuseIfEnded();
    return this.#inLine(() => this.#sign());
  }

  async inclusionProof(index: number, under?: SignedCheckpoint): Promise<InclusionProof> {
    if (under !== undefined && index < under.size) return proveInclusion(this.#state.folder, index, under);
    const checkpoint = index < this.#checkpoint.size ? this.#checkpoint : await this.checkpoint();
    return proveInclusion(this.#state.folder, index, checkpoint);
  }

  async consistencyProof(from: number, to: number): Promise<ConsistencyProof> {
    if (to > this.size) {
      throw new AuditError('audit.entry-missing', `expected a size of at most ${this.size}, got ${to}`);
    }
    return proveConsistency(this.#state.folder, from, to);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    while (this.#isDraining) await this.#line;
    // Where there is still no room the intent stays open, and recovery decides at the next start.
    if (this.#owed.length > 0) await this.#inLine(() => this.#drain());
    try {
      await this.#inLine(async () => {
        if (this.#broken === undefined) await this.#sign();
      }).catch((error: unknown) => {
        // The entries are durable; the next opening covers them.
        if (!isKeysAway(error) && !isNoRoom(error)) throw error;
      });
    } finally {
      await this.#state.files.close();
      this.#state.onClose();
    }
  }

  #refuseIfEnded(): void {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#closed) throw new AuditError('audit.closed', 'expected an open audit log, got a closed one');
  }

  #complete(input: AuditInput): AuditEntry {
    const { kind, action, principal, subject, detail, intent, result, reason } = input;
    return {
      v: 1,
      kind,
      time: new Date(this.#state.clock.now()).toISOString(),
      action,
      principal,
      subject,
      detail,
      ...(intent === undefined ? {} : { intent }),
      ...(result === undefined ? {} : { result }),
      ...(reason === undefined ? {} : { reason }),
    };
  }

  #expectOpenIntent({ intent }: AuditEntry): void {
    if (intent === undefined) return;
    if (!this.#state.openIntents.has(intent) || this.#closing.has(intent)) {
      throw new AuditError(
        'audit.entry-invalid',
        `expected the outcome of an open intent, got one of entry ${intent}`,
      );
    }
    this.#closing.add(intent);
  }

  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#line.then(work);
    this.#line = done.catch(() => {});
    return done;
  }

  /**
   * Writes what waits, up to a bundle's end: one sync for all that came while the one before ran. Gives way to others in
   * line after each batch, so that a checkpoint on demand does not wait for an endless stream of entries.
   */
  async #drain(): Promise<void> {
    const room = TILE_WIDTH - (this.#state.range.size % TILE_WIDTH);
    const owed = this.#owed.slice(0, room);
    const batch = this.#queue.splice(0, room - owed.length);
    try {
      if (owed.length + batch.length > 0) await this.#write([...owed, ...batch]);
      this.#owed = this.#owed.slice(owed.length);
      this.#appending = null;
    } catch (error) {
      this.#refuse(batch, error);
    }
    const isDue = this.size - this.#checkpoint.size >= this.#state.policy.entries;
    if (isDue && this.#broken === undefined) await this.#signInBackground();
    // Nothing awaits from here on, so no append is left behind.
    this.#isDraining = this.#queue.length > 0;
    if (this.#isDraining) void this.#inLine(() => this.#drain());
    else if (this.#broken === undefined && (this.size > this.#checkpoint.size || this.#owed.length > 0))
      this.#armTimer();
  }

  /** What was taken back is not in the log; an outcome is written later all the same, unless the log is broken. */
  #refuse(batch: readonly Waiting[], error: unknown): void {
    this.#appending = error instanceof GuardianError ? error.code : 'unknown';
    const mayGoOn = this.#broken === undefined && isNoRoom(error);
    for (const waiting of batch) {
      const { intent } = waiting.entry;
      if (intent !== undefined && mayGoOn) this.#owed.push(waiting);
      else if (intent !== undefined) this.#closing.delete(intent);
      waiting.reject(error);
    }
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const { files, range, levels, openIntents } = this.#state;
    await this.#storeOwedHashes();
    const first = range.size;
    try {
      await files.appendEntries(
        Math.floor(first / TILE_WIDTH),
        Buffer.concat(batch.map(({ bytes }) => frameEntry(bytes))),
      );
    } catch (cause) {
      throw this.#failed(cause);
    }
    const hashes: TileHash[] = [];
    for (const [i, { entry, bytes }] of batch.entries()) {
      const leaf = leafHash(bytes);
      range.append(leaf);
      pushHash(levels, { level: 0, index: first + i, hash: leaf }, hashes);
      if (entry.kind === 'intent') openIntents.set(first + i, entry);
      if (entry.intent !== undefined) {
        openIntents.delete(entry.intent);
        this.#closing.delete(entry.intent);
      }
    }
    hashes.sort((a, b) => a.level - b.level);
    try {
      await files.writeHashes(hashes);
    } catch (cause) {
      // The entries are durable and will be found; but their hashes are not all there, so nothing may follow.
      if (isNoRoom(cause)) this.#owedHashes = hashes;
      else this.#failed(cause);
    }
    this.#size = range.size;
    if (range.size % RESUME_SPACING === 0) this.#resumePoints.push(pointAt(range, [...openIntents.keys()]));
    for (const [i, { resolve }] of batch.entries()) resolve(first + i);
  }

  /** Throws `audit.append-failed` while there is no room. */
  async #storeOwedHashes(): Promise<void> {
    if (this.#owedHashes.length === 0) return;
    try {
      await this.#state.files.writeHashes(this.#owedHashes);
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.#owedHashes = [];
  }

  /** Only a write that was taken back leaves the log usable. */
  #failed(cause: unknown): GuardianError {
    if (cause instanceof AuditError && !cause.fatal) return cause;
    this.#broken =
      cause instanceof AuditError
        ? cause
        : new AuditError('audit.broken', 'the audit log failed half way', { cause, fatal: true });
    return this.#broken;
  }

  async #sign(): Promise<SignedCheckpoint> {
    const { folder, files, keys, range } = this.#state;
    const key = await keys.active('log-signing');
    // After a rotation the same tree is signed anew.
    if (this.#checkpoint.size === range.size && this.#signedBy === key.id) return this.#checkpoint;
    await this.#storeOwedHashes();
    try {
      await files.syncTiles();
    } catch (cause) {
      // A second sync could succeed without the data that the first one lost.
      throw this.#failed(cause);
    }
    const head = { origin: this.origin, size: range.size, root: range.root() };
    const checkpoint = await signCheckpoint(keys, head);
    faultPoint('audit.checkpoint.before-write');
    await writeFileAtomic(join(folder, 'checkpoint'), checkpoint.text);
    faultPoint('audit.checkpoint.after-write');
    this.#checkpoint = checkpoint;
    this.#signedBy = key.id;
    this.#noteSigning(null);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // There was room for a checkpoint when there had been none for an outcome.
    if (this.#owed.length > 0) this.#armTimer();
    await this.#storeResumePoint();
    this.#state.onCheckpoint?.(checkpoint);
    return checkpoint;
  }

  /** Stores the newest point that enough follows. It only spares work at the next opening: a failure is none of the checkpoint's. */
  async #storeResumePoint(): Promise<void> {
    const { folder, keys } = this.#state;
    const newest = this.#resumePoints.findLastIndex(
      ({ size }) => size + RESUME_SPACING <= this.#checkpoint.size,
    );
    const [point] = this.#resumePoints.splice(0, newest + 1).slice(-1);
    if (point === undefined) return;
    try {
      const text = await signResumePoint(keys, this.origin, point);
      if (text !== undefined) await writeFileAtomic(resumePath(folder), text);
    } catch {
      // The one before stands; the next follows soon.
    }
  }

  /** What is durable stays so without a checkpoint; a key store that is away is asked again with the next entries. */
  async #signInBackground(): Promise<void> {
    await this.#sign().catch((error: unknown) => {
      this.#noteSigning(error instanceof GuardianError ? error.code : 'unknown');
      this.#armTimer();
    });
  }

  #noteSigning(failure: string | null): void {
    if (failure === this.#signing) return;
    this.#signing = failure;
    this.#state.onSigning?.(failure ?? undefined);
  }

  #armTimer(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#closed || this.#broken !== undefined) return;
      if (this.#owed.length > 0 && !this.#isDraining) void this.#inLine(() => this.#drain());
      void this.#inLine(() => this.#signInBackground());
    }, this.#state.policy.delayMs);
    this.#timer.unref();
  }
}

/** Adds a hash to the unfinished tile of its level, and a full tile's root to the level above; lists what to store. */
export function pushHash(levels: Buffer[][], added: TileHash, out: TileHash[]): void {
  out.push(added);
  levels[added.level] ??= [];
  const tile = levels[added.level]!;
  tile.push(added.hash);
  if (tile.length < TILE_WIDTH) return;
  levels[added.level] = [];
  const index = Math.floor(added.index / TILE_WIDTH);
  pushHash(levels, { level: added.level + 1, index, hash: treeRoot(tile) }, out);
}
