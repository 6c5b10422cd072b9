import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stateLayout } from '../storage/index.ts';
import { buildServer } from './build-server.ts';
import { ServerError } from './errors.ts';
import type { ServedGuardian } from './handler.ts';
import { isLoopback } from './host-check.ts';
import { SCRATCH_FOLDER } from './scratch-folder.ts';

export interface Listening {
  /** Stops taking requests, ends streams, and lets what is being answered finish. */
  close(): Promise<void>;
}

/** Serves HTTP on loopback with API keys; port 0 takes a free one. Throws `server.tls-required`. */
export async function listenHttp(
  guardian: ServedGuardian,
  options: { readonly host: string; readonly port: number },
): Promise<Listening & { readonly url: string }> {
  const { host, port } = options;
  if (!isLoopback(host)) {
    throw new ServerError('server.tls-required', `expected a loopback address to listen on, got ${host}`);
  }
  const app = await buildServer(guardian, { trust: 'api-keys' });
  const url = await app.listen({ host, port });
  return { url, close: () => app.close() };
}

/** Serves the commands of this user on the state's socket (0600, in a folder of mode 0700). */
export async function listenSocket(guardian: ServedGuardian): Promise<Listening & { readonly path: string }> {
  const path = stateLayout(guardian.stateFolder).socket;
  // Who holds the state's lock owns the socket: what lies there was left by a process that died.
  await rm(path, { force: true });
  await removeLeftovers(guardian.stateFolder);
  const app = await buildServer(guardian, { trust: 'local' });
  await app.listen({ path });
  await chmod(path, 0o600);
  return {
    path,
    close: async () => {
      await app.close();
      await rm(path, { force: true });
    },
  };
}

/** An export that a crash cut short has left weights in the clear. */
async function removeLeftovers(stateFolder: string): Promise<void> {
  for (const name of await readdir(stateFolder)) {
    if (SCRATCH_FOLDER.test(name)) await rm(join(stateFolder, name), { recursive: true, force: true });
  }
}
