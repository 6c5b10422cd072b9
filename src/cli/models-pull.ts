import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { PulledUpdates } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

interface PullOptions {
  readonly root?: string;
  readonly model?: readonly string[];
}

/** Longer files are no root metadata. */
const MAX_ROOT_BYTES = 512_000;

export function registerPull(models: Command, action: Registrar['action']): void {
  models
    .command('pull')
    .description("Takes in another site's models by TUF: verified, gated here, signed anew.")
    .argument('<url>', 'where the other site serves its repository')
    .option('--root <file>', "the repository's root metadata, received another way; once for each repository")
    .option('--model <name...>', 'only these; everything that is offered by default')
    .addHelpText('after', '\nExample:\n  guardian models pull http://127.0.0.1:8412 --root 1.root.json')
    .action(action<PullOptions>(pull));
}

async function pull(context: Context, options: PullOptions, url = ''): Promise<undefined> {
  const root = options.root === undefined ? undefined : await readRoot(options.root);
  const pulled = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/updates/pull', {
      url,
      ...(root !== undefined && { root: root.toString('base64') }),
      ...(options.model !== undefined && { models: options.model }),
    }),
  )) as PulledUpdates;
  const { versions } = pulled;
  context.output.line(
    `trusted: root ${versions.root}, timestamp ${versions.timestamp}, snapshot ${versions.snapshot}, targets ${versions.targets}`,
  );
  if (pulled.models.length === 0) context.output.line('The repository offers no models.');
  else {
    context.output.line(
      table(
        ['model', 'version here', 'there', 'state', 'digest'],
        pulled.models.map((each) => [
          each.name,
          each.version,
          printable(each.offered),
          each.state,
          printable(each.digest),
        ]),
      ),
    );
  }
  context.output.object({ type: 'pull.result', ...pulled });
  return undefined;
}

async function readRoot(path: string): Promise<Buffer> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read the root ${printable(path)}`, { cause });
  });
  if (bytes.length > MAX_ROOT_BYTES) {
    throw new CliError('cli.usage', `expected root metadata of at most ${MAX_ROOT_BYTES} bytes`);
  }
  return bytes;
}
