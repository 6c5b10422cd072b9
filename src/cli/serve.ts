import type { Guardian } from '../guardian/index.ts';
import { ensureAdminKey, findAdminKeyFile, listenHttp, listenSocket } from '../server/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { yieldRuntimeThreads } from './runtime-threads.ts';
import { openOwnGuardian } from './session.ts';
import { boundHeapGrowth, collectStartupGarbage } from './startup-memory.ts';

interface ServeOptions {
  readonly port?: number;
  readonly grpcPort?: number;
}

export function registerServe({ program, action }: Registrar): void {
  program
    .command('serve')
    .description(
      'Owns the state and serves: HTTP, or HTTPS where server.tls is configured, and a socket for other commands.',
    )
    .option('--port <n>', 'TCP port; 0 takes a free one', parseWhole(0, 65_535))
    .option('--grpc-port <n>', 'also the inference protocol over gRPC, on this port', parseWhole(0, 65_535))
    .addHelpText('after', '\nExample:\n  guardian serve --port 8411')
    .action(
      action<ServeOptions>(
        (context) => runServe(context),
        ({ port, grpcPort }): Readonly<Record<string, unknown>> => ({
          ...(port !== undefined && { 'server.port': port }),
          ...(grpcPort !== undefined && { 'server.grpcPort': grpcPort }),
        }),
      ),
    );
}

async function runServe(context: Context): Promise<number | undefined> {
  const guardian = await openOwnGuardian(context);
  if (guardian === undefined) {
    throw new CliError('cli.unavailable', `another process owns ${context.stateFolder} already`);
  }
  try {
    yieldRuntimeThreads();
    await loadChampion(context, guardian);
    return await serveUntilInterrupted(context, guardian);
  } finally {
    await guardian.close();
  }
}

/** Puts every model that has a champion in place; one that does not verify is named and left out. */
export async function loadChampion(context: Context, guardian: Guardian): Promise<void> {
  const champions = (await guardian.registry.list()).filter(({ aliases }) => aliases.includes('champion'));
  for (const { name } of champions) {
    try {
      await guardian.load(`${name}@champion`);
      await guardian.rollouts.startConfigured(name);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      context.output.note(`guardian: ${name}@champion is not served: ${reason}`);
    }
  }
}

/** Listens on TCP and on the socket until Ctrl-C, then lets requests in flight finish. */
export async function serveUntilInterrupted(context: Context, guardian: Guardian): Promise<undefined> {
  const { host, port, grpcPort } = context.config.server;
  await guardian.notices.start();
  const madeKey = await ensureAdminKey(guardian);
  const socket = await listenSocket(guardian);
  try {
    const http = await listenHttp(guardian, { host, port, grpcPort });
    try {
      context.output.line(`serving ${http.url}  (socket ${socket.path})`);
      if (http.grpc !== undefined) context.output.line(`serving gRPC at ${http.grpc}`);
      sayHowToCall(context, http.url, { madeKey, keyFile: await findAdminKeyFile(guardian) });
      boundHeapGrowth();
      collectStartupGarbage();
      const { url, grpc } = http;
      const where = { url, socket: socket.path, ...(grpc !== undefined && { grpc }) };
      context.output.object({ type: 'serve.listening', ...where });
      await reloadingAtHangUp(context, [http, guardian.notices], () => untilAborted(context.signal));
    } finally {
      await http.close();
    }
  } finally {
    await socket.close();
  }
  return undefined;
}

/** Names the file of the admin key only where it is there and its key is good. */
function sayHowToCall(
  { output }: Context,
  url: string,
  key: { readonly madeKey: string | undefined; readonly keyFile: string | undefined },
): void {
  output.line(
    key.madeKey === undefined
      ? 'API keys: guardian access list'
      : `an admin key was made for you: ${key.madeKey}`,
  );
  if (key.keyFile === undefined)
    output.line('a new one: guardian access add <label> --role viewer   (Ctrl-C ends)');
  else {
    output.line(
      `try: curl -H "Authorization: Bearer $(cat ${key.keyFile})" ${url}/v1/status   (Ctrl-C ends)`,
    );
  }
}

/** While `work` runs, SIGHUP reads certificates, the issuer's keys and secrets anew, and opens files of notices again; where it fails, the old ones stay. */
async function reloadingAtHangUp(
  { output }: Context,
  parts: readonly { reload(): Promise<void> }[],
  work: () => Promise<void>,
): Promise<void> {
  const onHangUp = () => {
    Promise.allSettled(parts.map((part) => part.reload())).then((answers) => {
      const failed = answers.filter((answer) => answer.status === 'rejected');
      if (failed.length === 0) output.note('guardian: certificates, keys and secrets were read anew');
      for (const { reason: error } of failed) {
        const reason = error instanceof Error ? error.message : String(error);
        output.note(`guardian: what could not be read anew stays as it was: ${reason}`);
      }
    });
  };
  process.on('SIGHUP', onHangUp);
  try {
    await work();
  } finally {
    process.off('SIGHUP', onHangUp);
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
