import { hkdfSync, randomBytes } from 'node:crypto';
import type { AuditLog } from '../audit/index.ts';
import { type KeyStore, SecretBuffer, unwrapFromStore, type WrapSet, wrapForStore } from '../crypto/index.ts';
import type { Database } from '../storage/index.ts';
import { TrainingError } from '../training/index.ts';

/** What a key of training is for. */
export type TrainingKeyPurpose = 'data' | 'checkpoint';

/** A key that seals a file, and the wraps that lead to it again. */
export interface TrainingKey {
  readonly wraps: WrapSet;
  /** 32 bytes; whoever asked wipes it. */
  readonly key: SecretBuffer;
}

/** Which checkpoint of a run was the last: no older one is taken in its place. */
export interface CheckpointMark {
  /** Digest of the run. */
  readonly run: string;
  readonly dataKeyId: string;
  /** Rises with each checkpoint. */
  readonly counter: number;
}

const INFO = 'ai-guardian training file key 1';
const MARKS = 'training.checkpoints';

/**
 * Keys for files of training data and for checkpoints, and the marks of checkpoints, kept by the owner of the state.
 * The key that is handed out is drawn from the one that is wrapped, so that nobody gets a model's key by its wraps here.
 */
export class TrainingKeys {
  readonly #keys: KeyStore;
  readonly #log: AuditLog;
  readonly #settings: Database['settings'];
  /** The end of the queue of changes of the marks. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(parts: { readonly keys: KeyStore; readonly log: AuditLog; readonly database: Database }) {
    this.#keys = parts.keys;
    this.#log = parts.log;
    this.#settings = parts.database.settings;
  }

  /** Makes a key; in the log before it is out. */
  async make(purpose: TrainingKeyPurpose, subject: string, principal: string): Promise<TrainingKey> {
    const dataKeyId = `${purpose}-${randomBytes(8).toString('hex')}`;
    const detail = { purpose, dataKey: dataKeyId };
    await this.#log.append({ kind: 'event', action: 'data.seal', principal, subject, detail });
    const wrapped = SecretBuffer.random(32);
    try {
      return { wraps: await wrapForStore(this.#keys, dataKeyId, wrapped), key: drawn(wrapped, purpose) };
    } finally {
      wrapped.wipe();
    }
  }

  /** Opens a key by its wraps; in the log before it is out. Throws what the key store throws. */
  async open(
    purpose: TrainingKeyPurpose,
    wraps: WrapSet,
    { subject, principal }: { readonly subject: string; readonly principal: string },
  ): Promise<SecretBuffer> {
    const detail = { purpose, dataKey: wraps.dataKeyId };
    await this.#log.append({ kind: 'event', action: 'data.open', principal, subject, detail });
    const wrapped = await unwrapFromStore(this.#keys, wraps);
    try {
      return drawn(wrapped, purpose);
    } finally {
      wrapped.wipe();
    }
  }

  /** The marks by name of the model. */
  async marks(): Promise<Readonly<Record<string, CheckpointMark>>> {
    return ((await this.#settings.get(MARKS)) ?? {}) as Record<string, CheckpointMark>;
  }

  /**
   * Marks a checkpoint as the last of a name; durable when resolved. A mark with counter 0 begins a run and takes the place
   * of any other. Throws `training.checkpoint-rolled-back` where the counter does not rise and
   * `training.checkpoint-superseded` where another run has begun.
   */
  mark(name: string, next: CheckpointMark): Promise<void> {
    return this.#change(async (marks) => {
      const last = marks[name];
      if (next.counter === 0 && last?.dataKeyId === next.dataKeyId && last.counter > 0) {
        throw new TrainingError('training.checkpoint-rolled-back', `the run of ${name} has begun already`);
      }
      if (next.counter > 0) {
        if (last === undefined || last.dataKeyId !== next.dataKeyId || last.run !== next.run) {
          throw new TrainingError(
            'training.checkpoint-superseded',
            `the checkpoint of ${name} is another run's`,
          );
        }
        if (next.counter <= last.counter) {
          throw new TrainingError(
            'training.checkpoint-rolled-back',
            `expected a checkpoint of ${name} after number ${last.counter}, got ${next.counter}`,
          );
        }
      }
      return { ...marks, [name]: next };
    });
  }

  /** Forgets a name's mark: no checkpoint of it is taken from then on. With `dataKeyId` only that run's. */
  forget(name: string, dataKeyId?: string): Promise<void> {
    return this.#change(async ({ [name]: gone, ...rest }) =>
      gone === undefined || (dataKeyId !== undefined && gone.dataKeyId !== dataKeyId) ? undefined : rest,
    );
  }

  #change(
    change: (marks: Readonly<Record<string, CheckpointMark>>) => Promise<object | undefined>,
  ): Promise<void> {
    const done = this.#changes.then(async () => {
      const marks = await change(await this.marks());
      if (marks !== undefined) await this.#settings.set(MARKS, marks);
    });
    this.#changes = done.catch(() => {});
    return done;
  }
}

function drawn(wrapped: SecretBuffer, purpose: TrainingKeyPurpose): SecretBuffer {
  return wrapped.use((key) =>
    SecretBuffer.from(new Uint8Array(hkdfSync('sha256', key, new Uint8Array(0), `${INFO} ${purpose}`, 32))),
  );
}
