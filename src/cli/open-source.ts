import { type FlowSource, openFlowSource, type RecordOptions } from '../traffic/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { printable } from './text.ts';

export interface OpenSourceOptions {
  readonly filter?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly record?: RecordOptions | undefined;
}

/**
 * Opens the SOURCE of a command with what its configuration says. stderr is told when one that does not end is open,
 * and where tcpdump keeps our rights.
 */
export async function openSource(
  { config, clock, signal, output }: Context,
  source: string,
  { filter, follow, record }: OpenSourceOptions,
): Promise<FlowSource> {
  const opened = await openFlowSource(source, {
    ...config.meter,
    ...{ clock, signal },
    live: {
      ...(filter !== undefined && { filter }),
      onListening: (user) => {
        if (user === undefined) output.note(`capturing: tcpdump keeps the rights of ${who()}`);
      },
    },
    ...(follow === true && { follow }),
    ...(record !== undefined && { record }),
  });
  if (opened.isEndless === true) output.note(`reading ${printable(source)} until Ctrl-C`);
  return opened;
}

/** Closes a source that was opened and is of no use, an interface or a socket among them; throws `cli.usage`. */
export async function refuseOpened(source: FlowSource, message: string): Promise<never> {
  for await (const _ of source.batches(AbortSignal.abort())) break;
  throw new CliError('cli.usage', message);
}

function who(): string {
  return process.getuid?.() === 0 ? 'root: there is no user that it could become' : 'this user';
}
