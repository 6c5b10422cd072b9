import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { isPlainName } from './target-name.ts';

export interface ServedRepository {
  /** For `guardian models pull`. */
  readonly url: string;
  close(): Promise<void>;
}

/** The only paths there are: no escapes, no dot at a segment's start. */
const SERVED_PATH = /^\/((?:metadata|targets)\/[A-Za-z0-9._/-]{1,600})$/;

/** Serves the files of a repository's folder over HTTP on loopback: GET and HEAD, nothing else, nothing outside. */
export async function serveRepository(
  folder: string,
  options: { readonly port: number },
): Promise<ServedRepository> {
  const root = await realpath(folder);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    answer(root, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  const name = SERVED_PATH.exec(request.url ?? '')?.[1];
  const file = name !== undefined && isPlainName(name) ? await openInside(root, name) : undefined;
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    'content-type': name?.endsWith('.json') ? 'application/json' : 'application/octet-stream',
    'content-length': file.bytes.length,
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : file.bytes);
}

/** Undefined for what is no plain file, or lies behind a link anywhere below the root. */
async function openInside(root: string, name: string): Promise<{ bytes: Buffer } | undefined> {
  const path = join(root, name);
  if ((await realpath(path).catch(() => undefined)) !== path) return undefined;
  const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    return (await handle.stat()).isFile() ? { bytes: await handle.readFile() } : undefined;
  } finally {
    await handle.close();
  }
}
