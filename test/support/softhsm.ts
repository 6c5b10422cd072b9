import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Clock, ManualClock } from '../../src/base/index.ts';
import { ensureSoftHsmToken, type Pkcs11KeyStoreOptions, SOFTHSM_PATHS } from '../../src/crypto/index.ts';
import { requireTool } from './requires.ts';

const PIN = 'user-pin-2718';
const SO_PIN = 'officer-pin-3141';

/** A real SoftHSM token in a folder of its own. One a process: the module reads its configuration once. */
export interface SoftHsm {
  readonly folder: string;
  readonly pinPath: string;
  readonly modulePath: string;
  /** A URI of the token; each store name is a key store of its own. */
  uri(store?: string): string;
  /** Options of a store whose wrong PINs are counted apart. */
  options(store: string, clock?: Clock): Pkcs11KeyStoreOptions;
  writePin(pin?: string): Promise<void>;
  /** Takes the token's folder away, as if the device were pulled out, until `plugIn`. */
  pullOut(): void;
  plugIn(): void;
  remove(): void;
}

/** Whether SoftHSM is installed; else the test is skipped, or fails under CI=true. */
export function requireSoftHsm(t: TestContext): boolean {
  return requireTool(t, 'softhsm2-util');
}

/** Makes the token `guardian`. Sets SOFTHSM2_CONF of this process, which children inherit. */
export async function makeSoftHsm(): Promise<SoftHsm> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-hsm-'));
  const tokens = join(folder, 'tokens');
  await mkdir(tokens, { mode: 0o700 });
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(
    configuration,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  process.env.SOFTHSM2_CONF = configuration;
  const pinPath = join(folder, 'pin');
  await writeFile(pinPath, `${PIN}\n`, { mode: 0o600 });
  const modulePath = SOFTHSM_PATHS.find((path) => existsSync(path)) ?? '';
  const uri = (store = 'ai-guardian') =>
    `pkcs11:token=guardian;object=${store}?module-path=${modulePath}&pin-source=file:${pinPath}`;
  await ensureSoftHsmToken({ uri: uri(), secrets: async () => ({ pin: PIN, soPin: SO_PIN }) });
  const [token = ''] = await readdir(tokens);
  const away = join(folder, 'away');
  return {
    folder,
    pinPath,
    modulePath,
    uri,
    options: (store, clock = new ManualClock()) => ({
      uri: uri(store),
      pinPath,
      attemptsPath: join(folder, `${store}.attempts`),
      clock,
    }),
    writePin: (pin = PIN) => writeFile(pinPath, `${pin}\n`, { mode: 0o600 }),
    pullOut: () => renameSync(join(tokens, token), away),
    plugIn: () => renameSync(away, join(tokens, token)),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
