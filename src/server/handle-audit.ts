import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type IndexedEntry,
  proofText,
  readServedCheckpoint,
  readTileResource,
  type SignedCheckpoint,
  type VerifiedAuditLog,
  type VerifyAuditLogOptions,
  verifyAuditLog,
  verifyCheckpoint,
  WITNESSED_FILE,
} from '../audit/index.ts';
import type { Handlers, ServedGuardian } from './handler.ts';

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
  'GET /v1/audit/proof/:index': async ({ guardian, path }) => ({
    index: path.index,
    proof: await proofText(guardian.log, path.index, await witnessedCheckpoint(guardian)),
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

/** What strangers trust most: the last checkpoint that witnesses cosigned, if there is one that our keys signed. */
async function witnessedCheckpoint(guardian: ServedGuardian): Promise<SignedCheckpoint | undefined> {
  const file = join(folderOf(guardian), WITNESSED_FILE);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : verifyCheckpoint(text, await logKeys(guardian));
}

async function logKeys(guardian: ServedGuardian): Promise<readonly string[]> {
  return (await guardian.keys.list()).flatMap(({ purpose, publicKeyPem }) =>
    purpose === 'log-signing' && publicKeyPem !== undefined ? [publicKeyPem] : [],
  );
}

function folderOf(guardian: ServedGuardian): string {
  return guardian.auditFolder;
}

/** Recomputes the log from its files, after a checkpoint that covers everything durable. */
async function verifyLog(
  guardian: ServedGuardian,
  options: Pick<VerifyAuditLogOptions, 'outsideCheckpoint' | 'witnessKeys' | 'cosignaturesWanted'>,
): Promise<VerifiedAuditLog> {
  await guardian.log.checkpoint();
  return verifyAuditLog({ folder: folderOf(guardian), logPublicKeyPem: await logKeys(guardian), ...options });
}
