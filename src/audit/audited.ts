import { GuardianError } from '../base/index.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditEntry, AuditInput } from './entry.ts';

export type AuditedAction = Pick<AuditInput, 'action' | 'principal' | 'subject' | 'detail'>;

/**
 * Does a thing between its intent and its outcome: the intent is durable before `work` runs, the outcome before this
 * resolves. What `work` throws is thrown on, after a `failed` outcome that names its code (its message stays out of
 * the log: who knows what a library puts into one).
 *
 * Where the outcome cannot be written the intent stays open, and recovery decides at the next start.
 */
export async function audited<T>(
  log: AuditLog,
  what: AuditedAction,
  work: (intent: number) => Promise<T>,
): Promise<T> {
  const intent = await log.append({ kind: 'intent', ...only(what) });
  let value: T;
  try {
    value = await work(intent);
  } catch (error) {
    await log.append({ kind: 'outcome', ...only(what), intent, result: 'failed', reason: nameOf(error) });
    throw error;
  }
  await log.append({ kind: 'outcome', ...only(what), intent, result: 'done' });
  return value;
}

/**
 * Closes every open intent as done or aborted, as `decide` finds the thing to be. Called once at start, before anything
 * new is done. Returns how many were closed.
 */
export async function recoverIntents(
  log: AuditLog,
  decide: (index: number, entry: AuditEntry) => Promise<'done' | 'aborted'>,
): Promise<number> {
  const open = await log.openIntents();
  for (const { index, entry } of open) {
    const { action, subject } = entry;
    await log.append({
      kind: 'outcome',
      action,
      principal: 'system',
      subject,
      detail: { recovered: true },
      intent: index,
      result: await decide(index, entry),
    });
  }
  return open.length;
}

/** Callers may pass richer objects; the log takes these four. */
function only({ action, principal, subject, detail }: AuditedAction): AuditedAction {
  return { action, principal, subject, detail };
}

function nameOf(error: unknown): string {
  if (error instanceof GuardianError) return error.code;
  return error instanceof Error ? error.name : 'unknown';
}
