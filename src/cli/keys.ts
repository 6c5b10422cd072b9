import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  CryptoError,
  ensureSoftHsmToken,
  ensureUnlockFile,
  isPkcs11Uri,
  KEY_PURPOSES,
  type KeyInfo,
  type KeyPurpose,
  parsePkcs11Uri,
} from '../crypto/index.ts';
import type { KeyRotation } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseChoice } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { configureSoftHsm, installSoftHsm } from './softhsm-setup.ts';
import { table } from './text.ts';

export function registerKeys({ program, action }: Registrar): void {
  const keys = program.command('keys').description('The keys that sign models and log, and wrap data keys.');
  keys
    .command('init')
    .description('Makes the state folder and its keys where there are none; harmless where there are.')
    .addHelpText('after', INIT_HELP)
    .action(action(init));
  keys
    .command('list')
    .description('Lists the keys: purpose, state and fingerprint, never the secret part.')
    .option(
      '--pem <purpose>',
      'print the public keys of this purpose instead, as others trust them: those that are not revoked',
      parseChoice(KEY_PURPOSES),
    )
    .addHelpText('after', LIST_HELP)
    .action(action<{ pem?: KeyPurpose }>(list));
  keys
    .command('rotate')
    .description('Makes a new active key; the one before is retired, and what it signed stays good.')
    .requiredOption('--purpose <name>', KEY_PURPOSES.join(', '), parseChoice(KEY_PURPOSES))
    .option('--resume', 'make no new key: finish wrapping data keys anew')
    .addHelpText('after', '\nExample:\n  guardian keys rotate --purpose wrapping')
    .action(action<{ purpose: KeyPurpose; resume?: boolean }>(rotate));
  keys
    .command('revoke')
    .description('Ends every use of a key for good; what it signed from then on does not verify.')
    .argument('<id>', 'see guardian keys list')
    .option('--at <time>', 'RFC 3339: it is known to have been in other hands since then')
    .addHelpText('after', '\nExample:\n  guardian keys revoke model-signing-0123456789abcdef')
    .action(action<{ at?: string }>(revoke));
  keys
    .command('bus')
    .description('Makes a key that seals a bus: 32 random bytes in a file of mode 0600.')
    .argument('<file>', 'where it goes')
    .addHelpText('after', BUS_HELP)
    .action(action<object>(makeBusKey));
}

const LIST_HELP = `
Examples:
  guardian keys list
  guardian keys list --pem model-signing > trust.pem      for guardian worker --trust and models import --key`;

/** A key for the bus, for owner and workers alike. One that is there stays. */
async function makeBusKey(context: Context, _: object, path = ''): Promise<undefined> {
  await ensureUnlockFile(path);
  context.output.line(`${path} holds a key for the bus; copy it to each machine by a way that you trust`);
  context.output.object({ type: 'keys.bus', path });
  return undefined;
}

const BUS_HELP = `
Owner and workers need the same file. A file that is there is left as it is. It is as good as
  (umask 077; head -c 32 /dev/urandom > bus.key)

Example:
  guardian keys bus bus.key
  guardian worker --bus nats://127.0.0.1:4222 --bus-key-file bus.key`;

const INIT_HELP = `
With --keys pkcs11:token=NAME the keys are made in that token and never leave it. Without a module-path SoftHSM is
meant: it is installed where that is possible (root on Debian), its token made, and a PIN put into a file of mode 600
(pin-source=file:PATH, else hsm.pin in the configuration folder). A token of real hardware is initialised by its owner.

Example:
  guardian keys init --keys pkcs11:token=guardian
  guardian demo --once --keys pkcs11:token=guardian`;

async function init(context: Context): Promise<undefined> {
  const { uri } = context.config.keys;
  if (isPkcs11Uri(uri)) await prepareToken(context, uri);
  await list(context, {});
  if (!isPkcs11Uri(uri)) return undefined;
  context.output.line('\nnext: put this into guardian.yaml, or pass --keys with each command');
  context.output.line(`  keys:\n    uri: "${uri}"`);
  return undefined;
}

/** SoftHSM and its token, where they are asked for and missing. */
async function prepareToken(context: Context, uri: string): Promise<void> {
  const { modulePath, pinPath = join(context.configFolder, 'hsm.pin') } = parsePkcs11Uri(uri);
  const isSoftHsm = modulePath === undefined || /softhsm/i.test(modulePath);
  if (isSoftHsm) await configureSoftHsm(context);
  const ensure = () => ensureSoftHsmToken({ uri, secrets: () => makeSecrets(pinPath) });
  let made: boolean;
  try {
    made = await ensure();
  } catch (error) {
    const isMissing = error instanceof CryptoError && error.code === 'crypto.module-missing';
    if (!isMissing || !isSoftHsm || !(await installSoftHsm(context))) throw error;
    made = await ensure();
  }
  if (made)
    context.output.line(
      `made a SoftHSM token; its PIN is in ${pinPath}, its officer's in ${pinPath}.officer`,
    );
}

async function makeSecrets(pinPath: string): Promise<{ pin: string; soPin: string }> {
  await mkdir(dirname(pinPath), { recursive: true, mode: 0o700 });
  return { pin: await secretIn(pinPath), soPin: await secretIn(`${pinPath}.officer`) };
}

/** What the file says, or, where there is none, a new secret in a new file of mode 600. */
async function secretIn(path: string): Promise<string> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      const secret = randomBytes(16).toString('hex');
      await file.writeFile(`${secret}\n`);
      await file.sync();
      return secret;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EEXIST') throw error;
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
  }
}

async function rotate(
  context: Context,
  options: { purpose: KeyPurpose; resume?: boolean },
): Promise<undefined> {
  const { purpose, resume = false } = options;
  const rotation = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/keys/rotate', { purpose, resume }),
  )) as KeyRotation;
  context.output.line(`${rotation.key.id} is active for ${purpose} since ${rotation.key.createdAt}`);
  if (purpose === 'wrapping') context.output.line(`${rotation.rewrapped} data keys were wrapped anew`);
  context.output.object({ type: 'keys.rotated', ...rotation });
  return undefined;
}

async function revoke(context: Context, options: { at?: string }, id = ''): Promise<undefined> {
  const path = `/v1/keys/${encodeURIComponent(id)}/revoke`;
  const body = options.at === undefined ? {} : { from: options.at };
  const key = (await withSession(context, ({ api }) => api.call('POST', path, body))) as KeyInfo;
  context.output.line(`${key.id} is revoked`);
  context.output.object({ type: 'keys.revoked', key });
  return undefined;
}

async function list(context: Context, { pem }: { pem?: KeyPurpose }): Promise<undefined> {
  if (pem === 'wrapping') throw new CliError('cli.usage', 'wrapping keys have no public part');
  const { kind, keys } = (await withSession(context, ({ api }) => api.call('GET', '/v1/keys'))) as {
    kind: string;
    keys: readonly KeyInfo[];
  };
  if (pem !== undefined) {
    const trusted = keys.filter(({ purpose, state }) => purpose === pem && state !== 'revoked');
    for (const { publicKeyPem = '' } of trusted) context.output.line(publicKeyPem.trimEnd());
    context.output.object({ type: 'keys.result', kind, keys: trusted });
    return undefined;
  }
  context.output.line(
    table(
      ['key', 'purpose', 'algorithm', 'state', 'created'],
      keys.map((key) => [key.id, key.purpose, key.algorithm, key.state, key.createdAt]),
    ),
  );
  context.output.object({ type: 'keys.result', kind, keys });
  return undefined;
}
