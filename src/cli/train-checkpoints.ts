import { join } from 'node:path';
import { GuardianError } from '../base/index.ts';
import { listenSocket } from '../server/index.ts';
import { stateLayout } from '../storage/index.ts';
import { type CheckpointCounts, type TrainingRun, TrainingSteps } from '../training/index.ts';
import { type Api, ApiError } from './api.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { removeCheckpoint, SealedCheckpoint, type SealedCheckpointOptions } from './sealed-checkpoint.ts';
import { withSession } from './session.ts';
import { TrainingKeysClient } from './training-keys.ts';

export interface CheckpointedRun {
  readonly name: string;
  readonly run: TrainingRun;
  readonly resume: boolean;
}

/**
 * Trains with checkpoints. Where nobody else owns the state this process does while it trains, and answers other commands
 * on the socket; `train` is given the way to the owner. A checkpoint that cannot be saved ends no training: it is said once
 * for each reason, and counted.
 */
export async function withCheckpoints<T>(
  context: Context,
  { name, run, resume }: CheckpointedRun,
  train: (steps: TrainingSteps | undefined, api?: Api) => Promise<T>,
): Promise<{ readonly trained: T; readonly counts?: CheckpointCounts }> {
  const { everyRounds, maxShare } = context.config.checkpoints;
  if (everyRounds === 0) {
    if (resume) throw new CliError('cli.usage', '--resume needs checkpoints: checkpoints.everyRounds is 0');
    return { trained: await train(undefined) };
  }
  return await withSession(context, async ({ api, guardian }) => {
    const socket = guardian && (await listenSocket(guardian));
    const options = {
      ...{ name, run, keys: new TrainingKeysClient(api) },
      path: checkpointPath(context, name),
    };
    let checkpoint: SealedCheckpoint | undefined;
    try {
      checkpoint = resume ? await SealedCheckpoint.resume(options) : await beginIfPossible(context, options);
      if (checkpoint === undefined) return { trained: await train(undefined, api) };
      const said = new Set<string>();
      const onFailure = (error: unknown) => {
        const code = codeOf(error);
        if (!said.has(code)) noteFailure(context, 'a checkpoint was not saved', error);
        said.add(code);
      };
      const steps = await TrainingSteps.open({ store: checkpoint, everyRounds, maxShare, onFailure });
      try {
        return { trained: await train(steps, api), counts: steps.counts };
      } catch (error) {
        if (steps.counts.saved > 0)
          context.output.note('guardian: --resume goes on from the last checkpoint');
        throw error;
      }
    } finally {
      checkpoint?.close();
      await socket?.close();
    }
  });
}

/** For when the model is published: there is nothing to resume any more. */
export async function endCheckpoints(context: Context, name: string, api: Api): Promise<void> {
  const path = checkpointPath(context, name);
  await removeCheckpoint(path, name, new TrainingKeysClient(api)).catch((error: unknown) =>
    noteFailure(context, 'the checkpoint was not removed', error),
  );
}

export function checkpointPath(context: Context, name: string): string {
  return join(stateLayout(context.stateFolder).checkpoints, `${name}.sealed`);
}

/** Without a key there are no checkpoints, and training needs none. */
async function beginIfPossible(
  context: Context,
  options: SealedCheckpointOptions,
): Promise<SealedCheckpoint | undefined> {
  try {
    return await SealedCheckpoint.begin(options);
  } catch (error) {
    noteFailure(context, 'there are no checkpoints of this training', error);
    return undefined;
  }
}

function noteFailure(context: Context, what: string, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  context.output.note(`guardian: ${what}, the command goes on: ${why} (${codeOf(error)})`);
}

function codeOf(error: unknown): string {
  if (error instanceof GuardianError || error instanceof ApiError) return error.code;
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
