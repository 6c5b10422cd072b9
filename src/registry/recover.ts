import { type AuditEntry, recoverIntents } from '../audit/index.ts';
import type { RegistryContext } from './context.ts';
import { ERASE, PRUNE } from './custody-index.ts';
import { recoverRemoval, removeReturned } from './erase.ts';
import { sweepEscrow } from './escrow.ts';
import { REVOKE } from './key-revocations.ts';
import { IMPORT, PROMOTE, PUBLISH, ROLLBACK } from './log-index.ts';
import { ACCESS_ADD, ACCESS_REVOKE, recoverAccess } from './recover-access.ts';
import { ROTATE, recoverKeyChange, recoverRevocation, recoverRotation } from './rotate-keys.ts';
import { removeUnfinished } from './version-files.ts';

/**
 * Brings log, database and files together after a crash: open intents become done where the database holds their row,
 * else aborted; then the leftovers of publications that were not done are removed.
 */
export async function recoverRegistry(context: RegistryContext): Promise<void> {
  const closed = await recoverIntents(context.log, (index, entry) => decide(context, index, entry));
  await context.index.catchUp();
  for (const publication of context.index.unfinished) await removeUnfinished(context, publication);
  const removals = context.index.custody.removals.map(({ dataKeyId, name, version }) => ({
    dataKeyId,
    subject: `${name}@${version}`,
  }));
  await removeReturned(context.log, context.db.wraps, removals);
  await sweepEscrow(context, { principal: 'system' });
  await context.index.catchUp();
  // A promotion that was cut short before its checkpoint gets it now.
  if (closed > 0) await context.log.checkpoint();
}

async function decide(
  context: RegistryContext,
  index: number,
  entry: AuditEntry,
): Promise<'done' | 'aborted'> {
  const [name = '', version = ''] = entry.subject.split('@');
  switch (entry.action) {
    case PUBLISH:
    case IMPORT:
      // The row is written last, so with it everything is there.
      return (await context.db.versions.find(name, version))?.intent === index ? 'done' : 'aborted';
    case PROMOTE:
    case ROLLBACK:
      return (await context.db.aliases.findChange(index)) === undefined ? 'aborted' : 'done';
    case ERASE:
    case PRUNE:
      // Its intent was the point of no return.
      await recoverRemoval(context, entry);
      return 'done';
    case ROTATE:
      return await recoverRotation(context, entry);
    case REVOKE:
      return await recoverRevocation(context, entry);
    case 'key.generate':
    case 'key.retire':
    case 'key.disable':
      return await recoverKeyChange(context, entry);
    case ACCESS_ADD:
    case ACCESS_REVOKE:
      return await recoverAccess(context.db, entry);
    default:
      // Whatever else was under way has no durable state here; it did not report its end.
      return 'aborted';
  }
}
