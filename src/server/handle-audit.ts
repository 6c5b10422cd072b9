import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type IndexedEntry,
  readServedCheckpoint,
  readTileResource,
  type VerifiedAuditLog,
  type VerifyAuditLogOptions,
  verifyAuditLog,
  WITNESSED_FILE,
  writeProofFile,
} from '../audit/index.ts';
import { stateLayout } from '../storage/index.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import { withScratchFolder } from './scratch-folder.ts';

export const auditHandlers = {
  'GET /v1/audit': async ({ guardian, query }) => {
    const { size } = guardian.log;
    const from = Math.min(query.from ?? Math.max(0, size - query.limit), size);
    const entries: IndexedEntry[] = [];
    for await (const entry of guardian.log.entries(from, Math.min(from + query.limit, size))) {
      entries.push(entry);
    }
    return { size, from, entries };
  },
  'GET /v1/audit/checkpoint': ({ guardian }) => guardian.log.checkpoint(),
  'GET /v1/audit/proof/:index': ({ guardian, path }) =>
    withScratchFolder(guardian.stateFolder, async (folder) => {
      const file = join(folder, 'entry.tlog-proof');
      await writeProofFile(guardian.log, path.index, file);
      return { index: path.index, proof: await readFile(file, 'utf8') };
    }),
  'GET /v1/audit/consistency': ({ guardian, query }) => guardian.log.consistencyProof(query.from, query.to),
  'GET /v1/audit/verify': ({ guardian }) => verifyLog(guardian, {}),
  'POST /v1/audit/verify': ({ guardian, body }) =>
    verifyLog(guardian, {
      witnessKeys: body.witnessKeys,
      ...(body.checkpoint !== undefined && { outsideCheckpoint: body.checkpoint }),
      ...(body.cosignaturesWanted !== undefined && { cosignaturesWanted: body.cosignaturesWanted }),
    }),
  'GET /checkpoint': async ({ guardian, reply }) => {
    const text = await readServedCheckpoint(folderOf(guardian), WITNESSED_FILE);
    return reply.header('content-type', 'text/plain; charset=utf-8').send(text);
  },
  'GET /tile/*': async ({ guardian, request, reply }) => {
    const { '*': path = '' } = request.params as { readonly '*'?: string };
    const { bytes, isFull } = await readTileResource(folderOf(guardian), path);
    // What is full never changes; without a role asked for, anybody on the way may keep it.
    const scope = guardian.config.audit.publicTiles ? 'public' : 'private';
    if (isFull) reply.header('cache-control', `${scope}, max-age=31536000, immutable`);
    return reply.header('content-type', 'application/octet-stream').send(bytes);
  },
} satisfies Partial<Handlers>;

function folderOf(guardian: ServedGuardian): string {
  return stateLayout(guardian.stateFolder).audit;
}

/** Recomputes the log from its files, after a checkpoint that covers everything durable. */
async function verifyLog(
  guardian: ServedGuardian,
  options: Pick<VerifyAuditLogOptions, 'outsideCheckpoint' | 'witnessKeys' | 'cosignaturesWanted'>,
): Promise<VerifiedAuditLog> {
  await guardian.log.checkpoint();
  const keys = await guardian.keys.list();
  return verifyAuditLog({
    folder: folderOf(guardian),
    logPublicKeyPem: keys.flatMap(({ purpose, publicKeyPem }) =>
      purpose === 'log-signing' && publicKeyPem !== undefined ? [publicKeyPem] : [],
    ),
    ...options,
  });
}
