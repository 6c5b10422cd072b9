import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { type Bus, connectNats, MemoryBus } from '../bus/index.ts';
import {
  type Booster,
  DistributedTraining,
  serveWorker,
  startWorkerThreads,
  TrainingWorker,
} from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';

/** Options of every command that speaks over NATS. */
export interface BusOptions {
  readonly bus?: string;
  readonly busUser?: string;
  readonly busPasswordFile?: string;
  readonly busTokenFile?: string;
  readonly busCa?: string;
}

/** Options of a training on workers. */
export interface WorkersOptions extends BusOptions {
  readonly workers?: number;
  readonly run?: string;
}

export function addBusOptions(command: Command): Command {
  return command
    .option('--bus <server>', 'nats://host:port, or tls://host:port where it is not this machine')
    .option('--bus-user <name>', 'user of the bus')
    .option('--bus-password-file <file>', 'file that holds its password')
    .option('--bus-token-file <file>', 'file that holds a token')
    .option('--bus-ca <file>', 'PEM file of the authority that signed the certificate of the bus');
}

/**
 * Gives `work` a booster on N workers: threads of this process, or, with `--bus`, those that `guardian worker` brought; or
 * none, where no workers are asked for. What the run left on the bus goes when it succeeded, and stays for `--run` when not.
 */
export async function withWorkers<T>(
  options: WorkersOptions,
  work: (booster: Booster | undefined) => Promise<T>,
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
    const result = await work(training.booster);
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
      'Joins as a training worker: holds shards that coordinators lease to it, in memory alone, until Ctrl-C.',
    )
    .option('--id <name>', 'name on the bus: a-z, 0-9 and - (default: host and process)')
    .option('--threads <n>', 'threads that sum', parseWhole(1, 64), 1);
  addBusOptions(command)
    .addHelpText(
      'after',
      '\nExample:\n  guardian worker --bus nats://127.0.0.1:4222\n  guardian train data.csv --schema nsl-kdd --name nsl --workers 2 --bus nats://127.0.0.1:4222',
    )
    .action(action<BusOptions & { id?: string; threads: number }>(runWorker));
}

async function runWorker(
  context: Context,
  options: BusOptions & { id?: string; threads: number },
): Promise<undefined> {
  if (options.bus === undefined) throw new CliError('cli.usage', 'expected --bus nats://host:port');
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

async function openBus({
  bus = '',
  busUser,
  busPasswordFile,
  busTokenFile,
  busCa,
}: BusOptions): Promise<Bus> {
  return await connectNats({
    server: bus,
    ...(busUser !== undefined && { user: busUser }),
    ...(busPasswordFile !== undefined && { passwordFile: busPasswordFile }),
    ...(busTokenFile !== undefined && { tokenFile: busTokenFile }),
    ...(busCa !== undefined && { caFile: busCa }),
  });
}
