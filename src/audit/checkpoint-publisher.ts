import { join } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import type { AuditLog } from './audit-log.ts';
import type { SignedCheckpoint } from './checkpoint.ts';
import { compareWithCopy, copyCheckpoint } from './checkpoint-copies.ts';
import type { AuditConfig } from './config.ts';
import type { Cosignature } from './cosignature.ts';
import { AuditError } from './errors.ts';
import { parseVerifierKey } from './note.ts';
import { type PostText, postText, WitnessClient } from './witness-client.ts';

/** The file of the last checkpoint with its cosignatures, beside the log's own. */
export const WITNESSED_FILE = 'checkpoint.witnessed';

export interface CheckpointPublisherOptions {
  readonly log: AuditLog;
  readonly folder: string;
  readonly config: Pick<AuditConfig, 'copies' | 'witnesses' | 'cosignaturesWanted'>;
  /** Every key that signed for the log (SPKI PEM), asked for each time: keys rotate. */
  readonly publicKeysPem: () => Promise<readonly string[]>;
  readonly post?: PostText;
  /** Told of each copy or witness that failed; the next checkpoint tries again. */
  readonly onError?: (error: unknown) => void;
}

/** Counters and the state of publication. */
export interface PublisherStats {
  readonly published: number;
  readonly failures: number;
  /** Size of the last checkpoint that has the cosignatures wanted. */
  readonly witnessedSize: number;
}

/**
 * Takes each new checkpoint out of the house: copies it, and has it cosigned. One at a time; while one is on its way
 * only the newest of those that follow is kept. Nothing that is appended ever waits for it.
 */
export class CheckpointPublisher {
  readonly #options: CheckpointPublisherOptions;
  readonly #witnesses: readonly WitnessClient[];
  readonly #post: PostText;
  #next: SignedCheckpoint | undefined;
  #running: Promise<void> | undefined;
  #published = 0;
  #failures = 0;
  #witnessedSize = 0;

  constructor(options: CheckpointPublisherOptions) {
    this.#options = options;
    this.#post = options.post ?? postText;
    this.#witnesses = options.config.witnesses.flatMap(({ url, key }) => {
      const parsed = parseVerifierKey(key);
      return parsed === undefined ? [] : [new WitnessClient({ url, key: parsed, post: this.#post })];
    });
  }

  get stats(): PublisherStats {
    return { published: this.#published, failures: this.#failures, witnessedSize: this.#witnessedSize };
  }

  /**
   * Holds the log against the copies in folders, before anything new is done. Throws `audit.rolled-back`,
   * `audit.checkpoint-forged`; a folder that is away is told to `onError` alone.
   */
  async start(): Promise<void> {
    const { log, config, publicKeysPem } = this.#options;
    const folders = config.copies.filter((each) => each.startsWith('/'));
    if (folders.length === 0) return;
    const head = await log.checkpoint();
    const keysPem = await publicKeysPem();
    for (const place of folders) {
      await compareWithCopy({ log, head, place, publicKeysPem: keysPem }).catch((error: unknown) => {
        if (!(error instanceof AuditError) || error.category === 'security') throw error;
        this.#tell(error);
      });
    }
  }

  /** Publishes a checkpoint, soon. Never throws and never waits. */
  publish(checkpoint: SignedCheckpoint): void {
    const { copies, witnesses } = this.#options.config;
    if (copies.length + witnesses.length === 0) return;
    this.#next = checkpoint;
    this.#running ??= this.#run();
  }

  /** Resolves when what waits was tried. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is published first may be replaced by what comes with the same turn.
    await Promise.resolve();
    for (let checkpoint = this.#next; checkpoint !== undefined; checkpoint = this.#next) {
      this.#next = undefined;
      await this.#publish(checkpoint).catch((error: unknown) => this.#tell(error));
    }
    this.#running = undefined;
  }

  async #publish(checkpoint: SignedCheckpoint): Promise<void> {
    const { log, folder, config, publicKeysPem } = this.#options;
    const keysPem = await publicKeysPem();
    const copies = config.copies.map((place) =>
      copyCheckpoint({ log, checkpoint, place, publicKeysPem: keysPem, post: this.#post }),
    );
    const asked = this.#witnesses.map((witness) => witness.cosign(log, checkpoint));
    const [copied, cosigned] = await Promise.all([Promise.allSettled(copies), Promise.allSettled(asked)]);
    for (const each of [...copied, ...cosigned]) if (each.status === 'rejected') this.#tell(each.reason);
    const cosignatures = cosigned.flatMap((each): Cosignature[] =>
      each.status === 'fulfilled' ? [each.value] : [],
    );
    this.#published++;
    if (cosignatures.length < Math.max(1, config.cosignaturesWanted)) return;
    const text = `${checkpoint.text}${cosignatures.map(({ line }) => `${line}\n`).join('')}`;
    await writeFileAtomic(join(folder, WITNESSED_FILE), text);
    this.#witnessedSize = checkpoint.size;
  }

  #tell(error: unknown): void {
    this.#failures++;
    this.#options.onError?.(error);
  }
}
