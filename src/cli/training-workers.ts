import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { MemoryBus } from '../bus/index.ts';
import { DistributedTraining, serveWorker, startWorkerThreads, TrainingWorker } from '../training/index.ts';
import { addBusOptions, type BusOptions, openBus } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { runSecureWorker, type SecureWorkerOptions } from './secure-worker.ts';

/** Options of a training on workers. */
export interface WorkersOptions extends BusOptions {
  readonly workers?: number;
  readonly run?: string;
}

/**
 * Gives `work` a training on N workers: threads of this process, or, with `--bus`, those that `guardian worker` brought; or
 * none, where no workers are asked for. What the run left on the bus goes when it succeeded, and stays for `--run` when not.
 */
export async function withWorkers<T>(
  options: WorkersOptions,
  work: (training: Pick<DistributedTraining, 'booster' | 'gradients'> | undefined) => Promise<T>,
): Promise<T> {
  const { workers, run = `run-${randomUUID().slice(0, 8)}` } = options;
  if (workers === undefined) {
    if (options.bus !== undefined)
      throw new CliError('cli.usage', '--bus needs --workers N, how many to wait for');
    return await work(undefined);
  }
  const bus = options.bus === undefined ? new MemoryBus() : await openBus(options);
  const threads = options.bus === undefined ? await startWorkerThreads(bus, workers) : undefined;
  const training = new DistributedTraining({ bus, run, workers });
  try {
    const result = await work(training);
    await training.close();
    return result;
  } finally {
    training.abandon();
    await threads?.close();
    await bus.close();
  }
}

export function registerWorker({ program, action }: Registrar): void {
  const command = program
    .command('worker')
    .description(
      'Joins as a training worker: holds shards that coordinators lease to it, in memory alone, until Ctrl-C. With --secure: takes part in a secure training with rows of its own, which it shows to nobody.',
    )
    .option('--id <name>', 'name on the bus: a-z, 0-9 and - (default: host and process)')
    .option('--threads <n>', 'threads that sum', parseWhole(1, 64), 1)
    .option('--secure', 'as a member of a roster, with rows of its own')
    .option('--roster <file>', 'the signed roster')
    .option('--approver <file>', 'the approver whom you trust, by a way that the coordinator has no hand in')
    .option('--data <file>', 'rows of this site: a table, or flows with --labels')
    .option('--schema <name|file>', 'feature schema of the run')
    .option('--labels <file>', 'labels of the flows')
    .option('--min-cell-rows <n>', 'rows of its own in a cell of a sum', parseWhole(1, 1024), 5)
    .option(
      '--min-group <n>',
      'members in a sum at least; rosters that allow less are refused',
      parseWhole(3, 255),
      3,
    );
  addBusOptions(command).addHelpText('after', WORKER_HELP).action(action<WorkerOptions>(runWorker));
}

interface WorkerOptions extends SecureWorkerOptions {
  readonly id?: string;
  readonly secure?: boolean;
}

const WORKER_HELP = `
Examples:
  guardian worker --bus nats://127.0.0.1:4222
  guardian train data.csv --schema nsl-kdd --name nsl --workers 2 --bus nats://127.0.0.1:4222

  guardian worker --secure --bus tls://bus.example:4222 --roster roster.json --approver approver.json \\
    --data own-rows.csv --schema nsl-kdd`;

async function runWorker(context: Context, options: WorkerOptions): Promise<undefined> {
  if (options.bus === undefined) throw new CliError('cli.usage', 'expected --bus nats://host:port');
  if (options.secure === true) return await runSecureWorker(context, options);
  const own = (['roster', 'approver', 'data', 'schema', 'labels'] as const).find((name) => options[name]);
  if (own !== undefined) throw new CliError('cli.usage', `--${own} needs --secure`);
  const id =
    options.id ??
    `${hostname()
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')}-${process.pid}`;
  const bus = await openBus(options);
  const worker = new TrainingWorker((object) => bus.getObject(object), options.threads);
  const stop = await serveWorker(bus, (request) => worker.handle(request), { id });
  context.output.line(`${id} waits for work`);
  context.output.object({ type: 'worker.ready', id });
  await new Promise<void>((resolve) => {
    if (context.signal.aborted) resolve();
    context.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await stop();
  await worker.close();
  await bus.close();
  return undefined;
}
