import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stateLayout } from '../storage/index.ts';
import {
  AnsweredRounds,
  type AnsweredState,
  decodeAnswered,
  encodeAnswered,
  TrainingError,
  type TrainingRun,
} from '../training/index.ts';
import type { Context } from './context.ts';
import { SealedCheckpoint } from './sealed-checkpoint.ts';
import type { TrainingKeysClient } from './training-keys.ts';

/** What a member has answered in a run, as it is kept across restarts. */
export interface MemberState {
  readonly answered: AnsweredRounds;
  close(): void;
}

/**
 * Opens what this member has answered in a run: sealed like a checkpoint, under a key of the key store, with a number that the owner
 * of the state keeps, so that no older copy is taken for the last. Throws `training.answered-unreadable` where something
 * was answered and the file is gone, `training.checkpoint-rolled-back`, `-tampered`, and `-mismatch` where data or roster are
 * not those it was begun with. A save that finds another process of this member at work is refused, and nothing answered.
 */
export async function openMemberState(
  context: Context,
  {
    run,
    about,
    keys,
  }: { readonly run: string; readonly about: TrainingRun; readonly keys: TrainingKeysClient },
): Promise<MemberState> {
  const name = `member-${run}`;
  const path = join(stateLayout(context.stateFolder).checkpoints, 'members', `${name}.sealed`);
  const options = { path, name, run: about, keys };
  const mark = (await keys.marks())[name];
  const isThere = existsSync(path);
  if (!isThere && mark !== undefined && mark.counter > 0) {
    throw new TrainingError(
      'training.answered-unreadable',
      `this member has answered in run ${run} and ${path} is gone: what it answered is not known any more`,
    );
  }
  const file = isThere ? await SealedCheckpoint.resume(options) : await SealedCheckpoint.begin(options);
  // Written just before a crash, and not yet marked.
  if (isThere && mark !== undefined && mark.counter < file.counter) {
    await keys.mark(name, { ...mark, counter: file.counter });
  }
  let last = file.counter;
  const save = async (state: AnsweredState) => {
    const bytes = encodeAnswered(state);
    if ((await keys.marks())[name]?.counter !== last) {
      throw new TrainingError(
        'training.checkpoint-superseded',
        `another process answers as this member in run ${run}`,
      );
    }
    await file.save(bytes);
    last = file.counter;
  };
  try {
    const bytes = await file.load();
    const state = bytes && decodeAnswered(bytes);
    return { answered: new AnsweredRounds({ save, ...(state && { state }) }), close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}
