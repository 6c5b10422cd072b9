import type { KeyInfo } from '../crypto/index.ts';
import type { Context } from './context.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { table } from './text.ts';

export function registerKeys({ program, action }: Registrar): void {
  const keys = program.command('keys').description('The keys that sign models and log, and wrap data keys.');
  keys
    .command('init')
    .description('Makes the state folder with its keys where there is none; harmless where there is.')
    .action(action(list));
  keys
    .command('list')
    .description('Lists the keys: purpose, state and fingerprint, never the secret part.')
    .action(action(list));
}

async function list(context: Context): Promise<undefined> {
  const { keys } = (await withSession(context, ({ api }) => api.call('GET', '/v1/keys'))) as {
    keys: readonly KeyInfo[];
  };
  context.output.line(
    table(
      ['key', 'purpose', 'algorithm', 'state', 'created'],
      keys.map((key) => [key.id, key.purpose, key.algorithm, key.state, key.createdAt]),
    ),
  );
  context.output.object({ type: 'keys.result', keys });
  return undefined;
}
