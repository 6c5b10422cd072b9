import { execFile } from 'node:child_process';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isSecretMemoryLocked } from '../crypto/index.ts';
import { mayHaveGpu, openDevice } from '../features/index.ts';
import { claimState, StorageError, stateLayout } from '../storage/index.ts';
import { Api, socketTransport } from './api.ts';
import type { Context } from './context.ts';
import { readCoreDumps, turnCoreDumpsOff } from './core-dumps.ts';
import { EXIT } from './exit-code.ts';
import type { Registrar } from './registrar.ts';
import { table } from './text.ts';
import { VERSION } from './version.ts';

interface Finding {
  readonly what: string;
  readonly state: 'good' | 'missing' | 'bad' | 'note';
  readonly says: string;
}

/** Tools beside the product, and what goes without them. */
const TOOLS: readonly (readonly [command: string, use: string])[] = [
  ['tshark', 'needed by the tests that compare with an independent meter'],
  ['tcpdump', 'needed to watch a network interface'],
];

const MIN_FREE_BYTES = 256 * 1024 * 1024;

export function registerDoctor({ program, action }: Registrar): void {
  program
    .command('doctor')
    .description('Says what is installed, reachable and missing. Exit code 1 where something is bad.')
    .addHelpText('after', '\nExample:\n  guardian doctor')
    .action(action(runDoctor));
}

async function runDoctor(context: Context): Promise<number> {
  const findings = [
    {
      what: 'version',
      state: 'note',
      says: `ai-guardian ${VERSION} on Node ${process.versions.node}, ${process.platform}-${process.arch}`,
    },
    await checkState(context),
    await checkDisk(context),
    await checkUnlock(context),
    await checkCoreDumps(),
    {
      what: 'secret memory',
      state: isSecretMemoryLocked() ? 'good' : 'note',
      says: isSecretMemoryLocked()
        ? 'locked by sodium-native'
        : 'may be swapped: sodium-native is not installed',
    },
    await checkGpu(context),
    ...(await Promise.all(TOOLS.map(([command, use]) => checkTool(command, use)))),
  ] satisfies Finding[];
  const colours = { good: 'green', missing: 'yellow', bad: 'red', note: 'dim' } as const;
  context.output.line(
    table(
      ['what', 'state', 'says'],
      findings.map(({ what, state, says }) => [what, state, says]),
    ).replaceAll(/ (good|missing|bad|note) /g, (text) =>
      context.output.style(colours[text.trim() as Finding['state']], text),
    ),
  );
  const isWell = findings.every(({ state }) => state !== 'bad');
  context.output.object({ type: 'doctor.result', well: isWell, findings });
  return isWell ? EXIT.done : EXIT.checkFailed;
}

async function checkState(context: Context): Promise<Finding> {
  const folder = context.stateFolder;
  try {
    const found = await stat(folder).catch(() => undefined);
    if (found === undefined)
      return { what: 'state', state: 'note', says: `${folder} will be made at first use` };
    const owner = await claimState(folder);
    await owner.release();
    return { what: 'state', state: 'good', says: `${folder}, owned by no process now` };
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'storage.state-owned') {
      return { what: 'state', state: 'bad', says: error instanceof Error ? error.message : String(error) };
    }
    try {
      await new Api(socketTransport(stateLayout(folder).socket)).call('GET', '/v1/status');
      return {
        what: 'state',
        state: 'good',
        says: `${folder}, owned by a process that answers on its socket`,
      };
    } catch {
      return { what: 'state', state: 'note', says: `${folder} is in use by a command without a socket` };
    }
  }
}

async function checkDisk(context: Context): Promise<Finding> {
  const { bavail, bsize } = await statfs(await existingParent(context.stateFolder));
  const free = bavail * bsize;
  return {
    what: 'disk',
    state: free < MIN_FREE_BYTES ? 'bad' : 'good',
    says: `${(free / 2 ** 30).toFixed(1)} GiB free where the state lies`,
  };
}

async function existingParent(folder: string): Promise<string> {
  const exists = await stat(folder).then(
    () => true,
    () => false,
  );
  return exists ? folder : existingParent(join(folder, '..'));
}

async function checkUnlock(context: Context): Promise<Finding> {
  const path = join(context.configFolder, 'unlock.key');
  const found = await stat(path).catch(() => undefined);
  if (found === undefined)
    return { what: 'unlock secret', state: 'note', says: `${path} will be made at first use` };
  if ((found.mode & 0o077) !== 0) {
    return { what: 'unlock secret', state: 'bad', says: `${path} is readable by others: chmod 600` };
  }
  return {
    what: 'unlock secret',
    state: 'good',
    says: `${path}; it protects against a copied state folder and nothing else`,
  };
}

/** As they are in a process that holds keys. */
async function checkCoreDumps(): Promise<Finding> {
  const what = 'core dumps';
  await turnCoreDumpsOff();
  const state = await readCoreDumps();
  if (state === undefined) return { what, state: 'note', says: 'cannot be told on this system' };
  if (state.isOff)
    return { what, state: 'good', says: `off: at most ${state.limit} bytes, by /proc/self/limits` };
  const hint = 'install prlimit (util-linux), or start with `ulimit -c 0`';
  return state.filter === 0
    ? { what, state: 'note', says: `on, but without memory in them; ${hint}` }
    : { what, state: 'bad', says: `on: a crash would write keys to disk; ${hint}` };
}

/** Opens the adapter and lets go of it. */
async function checkGpu({ config }: Context): Promise<Finding> {
  const what = 'GPU';
  const { backend } = config.features;
  const { provider } = config.inference;
  const onCpu = 'features and models are computed on the CPU';
  const mayFeatures = backend !== 'cpu';
  const mayModels = provider === 'auto' || provider === 'webgpu';
  if (!mayFeatures && !mayModels) {
    const says = `not used: features.backend is cpu and inference.provider ${provider}; ${onCpu}`;
    return { what, state: 'note', says };
  }
  if (!mayHaveGpu()) return { what, state: 'note', says: `this machine shows none; ${onCpu}` };
  const opened = await openDevice();
  if (opened.device === undefined) return { what, state: 'missing', says: `${opened.reason}; ${onCpu}` };
  opened.device.destroy();
  const { adapter, isSoftware } = opened;
  const may = [mayFeatures && 'features', mayModels && 'models'].filter(Boolean).join(' and ');
  if (!isSoftware) {
    return { what, state: 'good', says: `${adapter}, for batches of ${may} that are faster there` };
  }
  const asks = [backend === 'gpu' && 'features.backend', provider === 'webgpu' && 'inference.provider'];
  const asked = asks.filter(Boolean).join(' and ');
  const use = asked === '' ? onCpu : `used because ${asked} asks for it`;
  return { what, state: 'note', says: `${adapter} is a software adapter; ${use}` };
}

async function checkTool(command: string, use: string): Promise<Finding> {
  try {
    const { stdout } = await promisify(execFile)(command, ['--version'], { timeout: 10_000 });
    return { what: command, state: 'good', says: stdout.split('\n')[0]?.trim() ?? '' };
  } catch {
    return { what: command, state: 'missing', says: use };
  }
}
