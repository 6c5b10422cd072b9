import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type IndexedEntry, type VerifiedAuditLog, verifyAuditLog, writeProofFile } from '../audit/index.ts';
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
  'GET /v1/audit/verify': ({ guardian }) => verifyLog(guardian, undefined),
  'POST /v1/audit/verify': ({ guardian, body }) => verifyLog(guardian, body.checkpoint),
} satisfies Partial<Handlers>;

/** Recomputes the log from its files, after a checkpoint that covers everything durable. */
async function verifyLog(
  guardian: ServedGuardian,
  outsideCheckpoint: string | undefined,
): Promise<VerifiedAuditLog> {
  await guardian.log.checkpoint();
  const keys = await guardian.keys.list();
  return verifyAuditLog({
    folder: stateLayout(guardian.stateFolder).audit,
    logPublicKeyPem: keys.flatMap(({ purpose, publicKeyPem }) =>
      purpose === 'log-signing' && publicKeyPem !== undefined ? [publicKeyPem] : [],
    ),
    ...(outsideCheckpoint !== undefined && { outsideCheckpoint }),
  });
}
