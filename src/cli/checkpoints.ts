import { stateLayout } from '../storage/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import type { Registrar } from './registrar.ts';
import { checkpointNames, removeCheckpoint } from './sealed-checkpoint.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';
import { checkpointPath } from './train-checkpoints.ts';
import { TrainingKeysClient } from './training-keys.ts';

export function registerCheckpoints({ program, action }: Registrar): void {
  const checkpoints = program
    .command('checkpoints')
    .description('Trainings that were broken off and can be resumed.');
  checkpoints
    .command('list')
    .description('Lists the models that `guardian train --resume` can go on with.')
    .action(action(list));
  checkpoints
    .command('remove')
    .description('Removes a checkpoint for good.')
    .argument('<model>', 'its name')
    .action(action(remove));
}

async function list(context: Context): Promise<undefined> {
  const { output } = context;
  const names = await checkpointNames(stateLayout(context.stateFolder).checkpoints);
  const marks = await withSession(context, ({ api }) => new TrainingKeysClient(api).marks());
  const found = names.map((model) => ({ model, checkpoint: marks[model]?.counter ?? null }));
  output.line(
    found.length === 0
      ? 'no checkpoints'
      : table(
          ['model', 'checkpoint'],
          found.map(({ model, checkpoint }) => [model, checkpoint === null ? 'unknown' : String(checkpoint)]),
        ),
  );
  output.object({ type: 'checkpoints.list', checkpoints: found });
  return undefined;
}

async function remove(context: Context, _: unknown, model = ''): Promise<undefined> {
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(model)) {
    throw new CliError('cli.usage', `expected the name of a model, got ${printable(model)}`);
  }
  await withSession(context, ({ api }) =>
    removeCheckpoint(checkpointPath(context, model), model, new TrainingKeysClient(api)),
  );
  context.output.line(`removed the checkpoint of ${model}`);
  context.output.object({ type: 'checkpoints.removed', model });
  return undefined;
}
