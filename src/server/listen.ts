import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Server as TlsServer } from 'node:tls';
import { stateLayout } from '../storage/index.ts';
import { buildServer } from './build-server.ts';
import { ServerError } from './errors.ts';
import type { GrpcListening } from './grpc/listen-grpc.ts';
import type { ServedGuardian } from './handler.ts';
import { isLoopback } from './host-check.ts';
import { SCRATCH_FOLDER } from './scratch-folder.ts';
import { readTls } from './tls-files.ts';

export interface Listening {
  /** Stops taking requests, ends streams, and lets what is being answered finish. */
  close(): Promise<void>;
}

export interface HttpListening extends Listening {
  readonly url: string;
  /** Host and port of the inference protocol over gRPC, where it is served. */
  readonly grpc?: string;
  /**
   * Reads certificate, key and the issuer's keys anew; new connections get what was read. Throws `server.tls-invalid`
   * and `server.issuer-unavailable`; what could not be read
   * stays as it was.
   */
  reload(): Promise<void>;
}

/**
 * Serves HTTP, and gRPC where a port is given for it, to callers who show who they are; port 0 takes a free one. With `server.tls` it is HTTPS. Elsewhere
 * than on loopback it must be, and the server's names must be known. Throws `server.tls-required` and
 * `server.tls-invalid`.
 */
export async function listenHttp(
  guardian: ServedGuardian,
  options: { readonly host: string; readonly port: number; readonly grpcPort?: number | null },
): Promise<HttpListening> {
  const { host, port, grpcPort = null } = options;
  const { tls: files, allowedHosts } = guardian.config.server;
  const tls = await readTls(files, guardian.clock);
  if (!isLoopback(host)) {
    if (tls === undefined) {
      throw new ServerError(
        'server.tls-required',
        `expected server.tls to listen on ${host}, which is not loopback`,
      );
    }
    if (allowedHosts.length === 0) {
      throw new ServerError(
        'server.tls-required',
        `expected names in server.allowedHosts to listen on ${host}`,
      );
    }
  }
  const app = await buildServer(guardian, {
    trust: 'api-keys',
    allowedHosts,
    ...(tls !== undefined && { tls }),
  });
  const url = await app.listen({ host, port });
  let grpc: GrpcListening | undefined;
  try {
    if (grpcPort !== null) {
      // The library costs a start some 0.3 s: who does not use it does not wait for it.
      const { listenGrpc } = await import('./grpc/listen-grpc.ts');
      grpc = await listenGrpc(guardian, { host, port: grpcPort, door: app.door, tls });
    }
  } catch (error) {
    await app.close();
    throw error;
  }
  return {
    url,
    ...(grpc !== undefined && { grpc: grpc.target }),
    close: async () => {
      await Promise.all([app.close(), grpc?.close()]);
    },
    reload: async () => {
      const [fresh, keys] = await Promise.allSettled([readTls(files, guardian.clock), app.door.refresh()]);
      if (fresh.status === 'rejected') throw fresh.reason;
      const { server } = app;
      if (fresh.value !== undefined && server instanceof TlsServer) server.setSecureContext(fresh.value);
      if (fresh.value !== undefined) grpc?.setSecureContext(fresh.value);
      if (keys.status === 'rejected') throw keys.reason;
    },
  };
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
