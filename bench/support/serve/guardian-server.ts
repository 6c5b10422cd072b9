import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../src/base/index.ts';
import { configurationSchema } from '../../../src/configuration.ts';
import { openGuardian } from '../../../src/guardian/index.ts';
import type { Candidate } from '../../../src/registry/index.ts';
import { stateLayout } from '../../../src/storage/index.ts';
import { waitForObject } from '../../../test/support/cli.ts';
import { type PinnedProcess, startPinned } from './pinned-process.ts';

export interface GuardianServer extends PinnedProcess {
  readonly port: number;
  /** Host and port of gRPC. */
  readonly grpc: string;
  readonly key: string;
}

/** All else as it is by default. */
const LIMIT = { principalPerSecond: 1e6, principalBurst: 1e6, addressPerSecond: 1e6, addressBurst: 1e6 };

/** `guardian serve` on one core, with the candidate as champion of a state of its own in `folder`. */
export async function startGuardianServer(
  folder: string,
  candidate: Candidate,
  options: {
    readonly core: number;
    readonly profileFolder?: string;
    /** Published and promoted before it: other names, or earlier versions of its own. */
    readonly others?: readonly Candidate[];
  },
): Promise<GuardianServer> {
  const state = join(folder, 'serve-state');
  const configFolder = join(folder, 'config', 'ai-guardian');
  mkdirSync(configFolder, { recursive: true });
  const config = { server: { rateLimit: LIMIT } };
  writeFileSync(join(configFolder, 'guardian.yaml'), JSON.stringify(config));
  const guardian = await openGuardian({
    ...{ stateFolder: state, configFolder, config: configurationSchema.parse(config) },
    ...{ origins: new Map(), clock: systemClock },
  });
  try {
    const who = { principal: 'bench' };
    for (const each of [...(options.others ?? []), candidate]) {
      const { version } = await guardian.registry.publish(each, who);
      await guardian.promote(each.name, version, 'champion', who);
    }
  } finally {
    await guardian.close();
  }
  const profile =
    options.profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profileFolder}`];
  const main = fileURLToPath(new URL('../../../bin/guardian.js', import.meta.url));
  const command = [process.execPath, ...profile, main, '--json', '--state', state, 'serve'];
  const server = startPinned(options.core, [...command, '--port', '0', '--grpc-port', '0'], {
    environment: { HOME: folder, XDG_CONFIG_HOME: join(folder, 'config'), NODE_V8_COVERAGE: undefined },
  });
  const { url, grpc } = await waitForObject(server.child, 'serve.listening');
  const key = readFileSync(stateLayout(state).adminKey, 'utf8').trim();
  return { ...server, port: Number(new URL(String(url)).port), grpc: String(grpc), key };
}
