import { randomUUID } from 'node:crypto';
import { Metrics } from '../base/index.ts';
import { MemoryBus } from '../bus/index.ts';
import { defaultWorkerId } from '../inference/index.ts';
import { DistributedTraining, serveWorker, startWorkerThreads, TrainingWorker } from '../training/index.ts';
import { addBusOptions, type BusOptions, openBus } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { type InferenceWorkerCommand, runInferenceWorker } from './inference-worker.ts';
import { parseChoice, parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { runSecureWorker, type SecureWorkerOptions } from './secure-worker.ts';
import { LOOPBACK, parseAddress, serveHealth } from './worker-health.ts';

const ROLES = ['training', 'inference'] as const;

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
      'Joins a bus until Ctrl-C. As a training worker: holds shards that coordinators lease to it, in memory alone; with --secure, it takes part in a secure training with rows of its own, which it shows to nobody. As an inference worker: scores batches and queued events for a server, with the models that it serves.',
    )
    .option('--id <name>', 'name on the bus: a-z, 0-9 and - (default: host and process)')
    .option('--role <role>', ROLES.join(' or '), parseChoice(ROLES), 'training')
    .option(
      '--threads <n>',
      'threads that sum (default: 1), or that score (default: one less than the cores)',
      parseWhole(1, 64),
    )
    .option('--trust <file>', 'inference: PEM public keys and root certificates whose models it takes')
    .option('--health-port <n>', 'answers GET /health/live and /health/ready here', parseWhole(0, 65_535))
    .option('--health-host <address>', `where that listens (default: ${LOOPBACK})`, parseAddress)
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

interface WorkerOptions extends Omit<SecureWorkerOptions, 'threads'>, InferenceWorkerCommand {
  readonly role: (typeof ROLES)[number];
  readonly secure?: boolean;
}

const WORKER_HELP = `
An inference worker takes models from the bus and trust from its own file alone; guardian keys list --pem model-signing
prints the keys of a server. Its bus must be sealed (--bus-key-file, bus.sealingKeyFile at the server). Probes of
Kubernetes come from outside the pod: --health-host 0.0.0.0. GET /metrics is there on loopback.

Examples:
  guardian worker --bus nats://127.0.0.1:4222
  guardian train data.csv --schema nsl-kdd --name nsl --workers 2 --bus nats://127.0.0.1:4222

  guardian keys bus bus.key
  guardian keys list --pem model-signing > trust.pem
  guardian worker --role inference --bus nats://127.0.0.1:4222 --bus-key-file bus.key --trust trust.pem \\
    --health-port 8412

  guardian worker --secure --bus tls://bus.example:4222 --roster roster.json --approver approver.json \\
    --data own-rows.csv --schema nsl-kdd`;

async function runWorker(context: Context, options: WorkerOptions): Promise<undefined> {
  const { role, threads = 1 } = options;
  if (role === 'inference' && options.secure === true) {
    throw new CliError('cli.usage', '--secure is a training; expected it without --role inference');
  }
  if (role === 'inference') return await runInferenceWorker(context, options);
  if (options.trust !== undefined) throw new CliError('cli.usage', '--trust needs --role inference');
  if (options.bus === undefined) throw new CliError('cli.usage', 'expected --bus nats://host:port');
  if (options.secure === true) return await runSecureWorker(context, { ...options, threads });
  const own = (['roster', 'approver', 'data', 'schema', 'labels'] as const).find((name) => options[name]);
  if (own !== undefined) throw new CliError('cli.usage', `--${own} needs --secure`);
  const { id = defaultWorkerId(), healthPort, healthHost } = options;
  const bus = await openBus(options);
  const worker = new TrainingWorker((object) => bus.getObject(object), threads);
  const stop = await serveWorker(bus, (request) => worker.handle(request), { id });
  const state = () => ({ ready: !context.signal.aborted, id });
  const health =
    healthPort === undefined
      ? undefined
      : await serveHealth({ port: healthPort, host: healthHost, state, metrics: new Metrics() });
  context.output.line(`${id} waits for work`);
  context.output.object({ type: 'worker.ready', id });
  await new Promise<void>((resolve) => {
    if (context.signal.aborted) resolve();
    context.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await stop();
  await health?.close();
  await worker.close();
  await bus.close();
  return undefined;
}
