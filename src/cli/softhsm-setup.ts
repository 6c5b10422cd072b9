import { execFile } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Context } from './context.ts';

const run = promisify(execFile);

/** Debian's own folder of tokens, for root and the group softhsm. */
const SYSTEM_TOKENS = '/var/lib/softhsm/tokens';

/** Installs SoftHSM where that may be done; resolves to whether it was. Says how where not. */
export async function installSoftHsm({ output }: Context): Promise<boolean> {
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) {
    output.note('guardian: SoftHSM is missing: sudo apt-get install softhsm2');
    return false;
  }
  output.note('guardian: installing softhsm2');
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: 300_000 };
  try {
    await run('apt-get', ['-qq', 'update'], options);
    await run('apt-get', ['-qq', 'install', '--yes', '--no-install-recommends', 'softhsm2'], options);
    return true;
  } catch {
    output.note('guardian: apt-get could not install softhsm2');
    return false;
  }
}

/**
 * Gives a user who may not write the system's tokens a folder of tokens, by the configuration file that SoftHSM looks
 * for in a home. What is there already, and SOFTHSM2_CONF, are left alone.
 */
export async function configureSoftHsm({ environment, output }: Context): Promise<void> {
  if (environment.SOFTHSM2_CONF !== undefined) return;
  const home = environment.HOME ?? homedir();
  const folder = join(home, '.config', 'softhsm2');
  const file = join(folder, 'softhsm2.conf');
  if (existsSync(file) || (await mayWrite(SYSTEM_TOKENS))) return;
  if (process.getuid?.() === 0) return;
  const tokens = join(home, '.local', 'share', 'softhsm2', 'tokens');
  await mkdir(tokens, { recursive: true, mode: 0o700 });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(file, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`, {
    flag: 'wx',
    mode: 0o600,
  });
  output.note(`guardian: SoftHSM keeps tokens in ${tokens} (${file})`);
}

function mayWrite(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
}
