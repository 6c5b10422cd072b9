import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { faultPoint, syncFolder, writeFileAtomic } from '../base/index.ts';
import {
  canonicalJson,
  readSealedFile,
  type SealedFile,
  type SecretBuffer,
  sealStream,
  sha256,
  type WrapSet,
} from '../crypto/index.ts';
import { type CheckpointStore, runDifferences, TrainingError, type TrainingRun } from '../training/index.ts';
import { ApiError } from './api.ts';
import type { TrainingKeysClient } from './training-keys.ts';

export interface SealedCheckpointOptions {
  readonly path: string;
  /** The model in training. */
  readonly name: string;
  readonly run: TrainingRun;
  readonly keys: TrainingKeysClient;
}

/** What opening a key says of wraps that are not those of the store. */
const WRAPS_CHANGED = new Set([
  'crypto.integrity',
  'crypto.wrap-invalid',
  'crypto.key-missing',
  'server.request-invalid',
]);

/**
 * The checkpoint of one run in one file: sealed with a key of its own, bound to the name, the run and a number that rises
 * with each checkpoint. The file is replaced whole; then the owner of the state marks its number, in its database. A copy
 * that is older than the mark is refused, one that is newer was written just before a crash.
 */
export class SealedCheckpoint implements CheckpointStore {
  readonly #options: SealedCheckpointOptions;
  readonly #wraps: WrapSet;
  readonly #key: SecretBuffer;
  #counter: number;
  #state: Uint8Array | undefined;

  private constructor(
    options: SealedCheckpointOptions,
    { wraps, key }: { readonly wraps: WrapSet; readonly key: SecretBuffer },
    from: { readonly counter: number; readonly state?: Uint8Array },
  ) {
    this.#options = options;
    this.#wraps = wraps;
    this.#key = key;
    this.#counter = from.counter;
    this.#state = from.state;
  }

  /** Begins a run anew: what was there of the name is gone. */
  static async begin(options: SealedCheckpointOptions): Promise<SealedCheckpoint> {
    const { path, name, run, keys } = options;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const made = await keys.make('checkpoint', name);
    await rm(path, { force: true });
    await removeLeftovers(path);
    await syncFolder(dirname(path));
    await keys.mark(name, { run: runDigest(run), dataKeyId: made.wraps.dataKeyId, counter: 0 });
    return new SealedCheckpoint(options, made, { counter: 0 });
  }

  /**
   * Takes up the run that was broken off. Throws `training.checkpoint-missing`, `-tampered`, `-rolled-back`, `-mismatch`,
   * and `ApiError` where the key cannot be had now.
   */
  static async resume(options: SealedCheckpointOptions): Promise<SealedCheckpoint> {
    const { path, name, run, keys } = options;
    const bytes = await readFile(path).catch(async (cause: unknown) => {
      const others = (await checkpointNames(dirname(path))).join(', ');
      const there = others === '' ? 'there are none' : `there are checkpoints of ${others}`;
      throw new TrainingError(
        'training.checkpoint-missing',
        `expected a checkpoint of ${name} to resume: ${there}`,
        { cause },
      );
    });
    const file = await readSealedFile(piecesOf([bytes])).catch((cause) => {
      throw tampered(name, cause);
    });
    const { context, wraps, purpose } = file.header;
    const key = await openKey(keys, name, wraps);
    let state: Uint8Array | undefined;
    try {
      state = await contentOf(file, key, name);
      const isOurs = purpose === 'checkpoint' && context.name === name && Number.isInteger(context.counter);
      if (!isOurs) throw tampered(name);
      const differing = runDifferences(context.run as TrainingRun, run);
      if (differing.length > 0) {
        throw new TrainingError(
          'training.checkpoint-mismatch',
          `the checkpoint of ${name} is of a run that differs in: ${differing.join(', ')}`,
        );
      }
      const counter = context.counter as number;
      const mark = (await keys.marks())[name];
      if (mark?.dataKeyId !== wraps.dataKeyId || counter < mark.counter) {
        const last = mark?.dataKeyId === wraps.dataKeyId ? `number ${mark.counter}` : 'of another run';
        throw new TrainingError(
          'training.checkpoint-rolled-back',
          `the checkpoint of ${name} is number ${counter}, and the last one was ${mark === undefined ? 'removed' : last}`,
        );
      }
      return new SealedCheckpoint(options, { wraps, key }, { counter, state });
    } catch (error) {
      state?.fill(0);
      key.wipe();
      throw error;
    }
  }

  /** Number of the last checkpoint. */
  get counter(): number {
    return this.#counter;
  }

  async load(): Promise<Uint8Array | undefined> {
    const state = this.#state;
    this.#state = undefined;
    return state;
  }

  /** Throws what writing throws, and `ApiError` where the mark cannot be set: `training.checkpoint-superseded`. */
  async save(state: Uint8Array): Promise<void> {
    const { path, name, run, keys } = this.#options;
    const counter = ++this.#counter;
    const pieces: Uint8Array[] = [];
    const header = {
      v: 1,
      purpose: 'checkpoint',
      wraps: this.#wraps,
      context: { name, run, counter },
    } as const;
    for await (const piece of sealStream(header, this.#key, [state])) pieces.push(piece);
    await writeFileAtomic(path, Buffer.concat(pieces));
    faultPoint('cli.checkpoint.before-mark');
    await keys.mark(name, { run: runDigest(run), dataKeyId: this.#wraps.dataKeyId, counter });
  }

  /** Wipes the key; the file stays. */
  close(): void {
    this.#state?.fill(0);
    this.#key.wipe();
  }
}

/** Names of the models that have a checkpoint, whole or not. */
export async function checkpointNames(folder: string): Promise<readonly string[]> {
  const files = await readdir(folder).catch(() => []);
  return files.flatMap((file) => /^([a-z][a-z0-9-]*)\.sealed$/.exec(file)?.[1] ?? []).sort();
}

/** Removes a checkpoint: the file first, so that a mark without one is all a crash can leave. */
export async function removeCheckpoint(path: string, name: string, keys: TrainingKeysClient): Promise<void> {
  await rm(path, { force: true });
  await removeLeftovers(path);
  await keys.forget(name);
}

/** A save that a crash cut short leaves a file that is not whole; it is sealed too. */
async function removeLeftovers(path: string): Promise<void> {
  const [folder, begins] = [dirname(path), `.tmp-${basename(path)}-`];
  const names = await readdir(folder).catch(() => []);
  for (const name of names) if (name.startsWith(begins)) await rm(join(folder, name), { force: true });
}

async function openKey(keys: TrainingKeysClient, name: string, wraps: WrapSet): Promise<SecretBuffer> {
  try {
    return await keys.open('checkpoint', name, wraps);
  } catch (error) {
    if (error instanceof ApiError && WRAPS_CHANGED.has(error.code)) throw tampered(name, error);
    throw error;
  }
}

async function contentOf(file: SealedFile, key: SecretBuffer, name: string): Promise<Uint8Array> {
  const content = file.open(key);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of content) chunks.push(chunk);
    // Not from the shared pool: it is wiped whole.
    const state = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of chunks) {
      state.set(chunk, at);
      at += chunk.length;
    }
    return state;
  } catch (cause) {
    throw tampered(name, cause);
  } finally {
    content.wipe();
  }
}

async function* piecesOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

function runDigest(run: TrainingRun): string {
  return sha256(canonicalJson(run));
}

function tampered(name: string, cause?: unknown): TrainingError {
  return new TrainingError(
    'training.checkpoint-tampered',
    `the checkpoint of ${name} is not what was sealed`,
    ...(cause === undefined ? [] : [{ cause }]),
  );
}
