import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import { type VerifiedModel, verifyExport } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { refuseExisting } from './lab.ts';
import { modelRoute, splitReference } from './models-reference.ts';
import { withSession } from './session.ts';

/** The five files of an export, by name. */
export async function fetchExport(
  call: (method: 'GET', path: string) => Promise<unknown>,
  reference: string,
): Promise<Readonly<Record<string, string>>> {
  const { name, at } = splitReference(reference);
  const { files } = (await call('GET', modelRoute(name, `/versions/${encodeURIComponent(at)}/export`))) as {
    files: Record<string, string>;
  };
  return files;
}

/** Writes an export's files into a new folder; on a failure the folder is removed again. */
export async function writeExport(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  await refuseExisting(folder);
  await mkdir(folder, { mode: 0o755 });
  try {
    for (const [name, content] of Object.entries(files)) {
      if (!/^[a-z]+\.(agm|json|sig)$/.test(name))
        throw new CliError('cli.refused', 'unexpected name of a file');
      await writeFileAtomic(join(folder, name), Buffer.from(content, 'base64'), 0o644);
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** PEM of the active model signing key. */
export async function signingKey(call: (method: 'GET', path: string) => Promise<unknown>): Promise<string> {
  const { keys } = (await call('GET', '/v1/keys')) as {
    keys: readonly { purpose: string; state: string; publicKeyPem?: string }[];
  };
  const key = keys.find(({ purpose, state }) => purpose === 'model-signing' && state === 'active');
  if (key?.publicKeyPem === undefined)
    throw new CliError('cli.refused', 'there is no active model signing key');
  return key.publicKeyPem;
}

/** The model as the owner of the state exports it, verified again in this process with the owner's public key. */
export async function fetchVerified(context: Context, reference: string): Promise<VerifiedModel> {
  const folder = await mkdtemp(join(tmpdir(), 'guardian-evaluate-'));
  try {
    const { files, key } = await withSession(context, async ({ api }) => {
      const call = (method: 'GET', path: string) => api.call(method, path);
      return { files: await fetchExport(call, reference), key: await signingKey(call) };
    });
    const exported = join(folder, 'model');
    await writeExport(exported, files);
    return await verifyExport(exported, [key]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
