import type { AuditEntry } from '../audit/index.ts';
import type { Database } from '../storage/index.ts';

/** Ways in are given and taken by the server; their rows lie in the registry's database, and so does their recovery. */
export const ACCESS_ADD = 'access.add';
export const ACCESS_REVOKE = 'access.revoke';

/** A row is written whole or not at all: a key that opens the door is never called aborted, nor one that does not done. */
export async function recoverAccess(
  { accessKeys }: Pick<Database, 'accessKeys'>,
  { action, subject }: AuditEntry,
): Promise<'done' | 'aborted'> {
  const row = await accessKeys.findAccessKey(subject);
  const isDone = action === ACCESS_ADD ? row !== undefined : row?.revokedAt !== undefined;
  return isDone ? 'done' : 'aborted';
}
