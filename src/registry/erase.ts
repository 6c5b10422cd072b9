import type { AuditEntry, AuditLog } from '../audit/index.ts';
import { faultPoint } from '../base/index.ts';
import type { WrapStore } from '../storage/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { ERASE, ERASE_COMPLETE, PRUNE, REMOVAL_DETAIL, type Removal } from './custody-index.ts';
import { RegistryError } from './errors.ts';
import { countCopies, sweepEscrow } from './escrow.ts';
import { activeHolds } from './holds.ts';
import { checkVersion } from './names.ts';
import { checkReason } from './reason.ts';
import { refuseRemoved } from './tombstone.ts';
import { blobNames, findPublication } from './version-files.ts';

/** Event: wraps of a removed version had come back, by a restore say, and were removed again. */
export const ERASE_REPLAY = 'model.erase-replay';

/** Where a cryptographic erase (NIST SP 800-88) stands. */
export interface EraseStatus {
  readonly name: string;
  readonly version: string;
  /** `pending` as long as a wrap of the data key may exist anywhere, in escrow too. */
  readonly state: 'pending' | 'complete';
  readonly method: 'cryptographic erase (NIST SP 800-88)';
  readonly reason: string;
  readonly principal: string;
  readonly time: string;
  /** Index of the erase's intent in the audit log. */
  readonly intent: number;
  /** Whether the wrap store holds a wrap of the data key; false from the erase on. */
  readonly hasWraps: boolean;
  /** Copies that lie in escrow now. */
  readonly escrowed: number;
  /** When the last escrowed copy has expired; absent where nothing was escrowed. */
  readonly escrowUntil?: string;
}

export interface EraseTarget {
  readonly name: string;
  readonly version: string;
  readonly reason: string;
  readonly serving: Serving;
}

/** Versions of a name that decide now. */
export type Serving = (name: string) => readonly string[];

/** Why a version may not be removed, whatever the policy says. */
export type Obstacle = 'aliased' | 'serving' | 'held' | 'in-flight';

export function obstaclesOf(
  context: RegistryContext,
  name: string,
  version: string,
  serving: Serving,
): readonly Obstacle[] {
  const checks: Readonly<Record<Obstacle, boolean>> = {
    aliased: context.index.pointers(name).some((move) => move.version === version),
    serving: serving(name).includes(version),
    held: activeHolds(context, name, version).length > 0,
    'in-flight': context.index.custody.isInFlight(name, version),
  };
  return (Object.keys(checks) as Obstacle[]).filter((obstacle) => checks[obstacle]);
}

/**
 * Destroys every wrap of a version's data key, of the store and of recovery. The sealed weights may lie in snapshots and
 * backups for ever: nothing opens them. Row, manifest and name stay. Throws `registry.version-held`,
 * `registry.version-in-use`, `registry.version-erased`; each refusal stands in the log.
 */
export async function eraseVersion(
  context: RegistryContext,
  target: EraseTarget,
  by: Actor,
): Promise<EraseStatus> {
  const { name, version, reason } = target;
  checkReason(reason);
  checkVersion(version);
  await context.index.catchUp();
  const before = context.index.custody.removal(name, version);
  if (before?.action === 'erase' && !before.isDone) await finishRemoval(context, before, by);
  else {
    const { dataKeyId, digest } = await findPublication(context, name, version);
    await refuseObstacles(context, target, by);
    if (before?.action === 'erase') refuseRemoved(context, name, version);
    await commitRemoval(context, { action: ERASE, name, version, dataKeyId, digest, reason }, by);
  }
  return await eraseStatus(context, name, version, by);
}

/** Drops escrowed copies that have expired, then says where the erase stands. Throws `registry.version-not-erased`. */
export async function eraseStatus(
  context: RegistryContext,
  name: string,
  version: string,
  by: Actor,
): Promise<EraseStatus> {
  await sweepEscrow(context, by);
  await context.index.catchUp();
  await findPublication(context, name, version);
  const removal = context.index.custody.removal(name, version);
  if (removal?.action !== 'erase') {
    throw new RegistryError('registry.version-not-erased', `${name}@${version} was not erased`);
  }
  const { dataKeyId, escrowUntil, reason, principal, time, intent, isDone } = removal;
  const hasWraps = await context.db.wraps.has(dataKeyId);
  const escrowed = await countCopies(context, dataKeyId);
  const isOver = escrowUntil === undefined || Date.parse(escrowUntil) <= context.clock.now();
  const isComplete = isDone && !hasWraps && escrowed === 0 && isOver;
  if (isComplete && !context.index.custody.isComplete(removal)) {
    const subject = `${name}@${version}`;
    const detail = { erase: intent, dataKeyId };
    await context.log.append({
      kind: 'event',
      action: ERASE_COMPLETE,
      principal: by.principal,
      subject,
      detail,
    });
    await context.index.catchUp();
  }
  return {
    name,
    version,
    state: isComplete ? 'complete' : 'pending',
    method: 'cryptographic erase (NIST SP 800-88)',
    reason,
    principal,
    time,
    intent,
    hasWraps,
    escrowed,
    ...(escrowUntil === undefined ? {} : { escrowUntil }),
  };
}

/**
 * Removes what `plan` names. Its durable intent is the point of no return: whatever fails or crashes after it, the
 * version counts as removed, and the work, which may be repeated, is finished by the next try or the next start.
 */
export async function commitRemoval(
  context: RegistryContext,
  plan: Pick<Removal, 'name' | 'version' | 'dataKeyId' | 'digest' | 'reason'> & {
    readonly action: typeof ERASE | typeof PRUNE;
  },
  by: Actor,
): Promise<void> {
  const { action, name, version, dataKeyId, digest, reason } = plan;
  const escrowUntil = context.index.custody.escrowUntil(dataKeyId) ?? null;
  faultPoint('registry.removal.before-intent');
  await context.log.append({
    kind: 'intent',
    action,
    principal: by.principal,
    subject: `${name}@${version}`,
    detail: { reason, dataKeyId, digest, escrowUntil },
  });
  await context.index.catchUp();
  const removal = context.index.custody.removal(name, version);
  if (removal === undefined || removal.isDone) {
    throw new RegistryError(
      'registry.version-not-in-log',
      `the removal of ${name}@${version} is not in the log`,
    );
  }
  await finishRemoval(context, removal, by);
}

/** Does what is left of an open removal and closes its intent. */
async function finishRemoval(context: RegistryContext, removal: Removal, by: Actor): Promise<void> {
  await removeWeights(context, removal);
  const { action, name, version, intent } = removal;
  await context.log.append({
    kind: 'outcome',
    action: action === 'erase' ? ERASE : PRUNE,
    principal: by.principal,
    subject: `${name}@${version}`,
    detail: {},
    intent,
    result: 'done',
  });
  await context.index.catchUp();
  await context.log.checkpoint();
}

/** For recovery: does what an open intent of a removal promised. The log's index is not there yet. */
export async function recoverRemoval(context: RegistryContext, entry: AuditEntry): Promise<void> {
  const [name = '', version = ''] = entry.subject.split('@');
  const { dataKeyId } = REMOVAL_DETAIL.parse(entry.detail);
  await removeWeights(context, {
    name,
    version,
    dataKeyId,
    action: entry.action === ERASE ? 'erase' : 'prune',
  });
}

/**
 * Removes wraps of erased and pruned versions that are there again, as after a restore: every open calls it. Reads the
 * log alone. Returns the ids of the data keys whose wraps it removed.
 */
export async function replayErasures(log: AuditLog, wraps: WrapStore): Promise<readonly string[]> {
  const removals: { readonly dataKeyId: string; readonly subject: string }[] = [];
  for await (const { entry } of log.entries()) {
    if (entry.kind !== 'intent' || (entry.action !== ERASE && entry.action !== PRUNE)) continue;
    const detail = REMOVAL_DETAIL.safeParse(entry.detail);
    if (detail.success) removals.push({ dataKeyId: detail.data.dataKeyId, subject: entry.subject });
  }
  return await removeReturned(log, wraps, removals);
}

/** The same from removals that were read already. */
export async function removeReturned(
  log: AuditLog,
  wraps: WrapStore,
  removals: readonly { readonly dataKeyId: string; readonly subject: string }[],
): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const { dataKeyId, subject } of removals) {
    if (!(await wraps.has(dataKeyId))) continue;
    await wraps.delete(dataKeyId);
    faultPoint('registry.replay.unwrapped');
    await log.append({
      kind: 'event',
      action: ERASE_REPLAY,
      principal: 'system',
      subject,
      detail: { dataKeyId },
    });
    removed.push(dataKeyId);
  }
  return removed;
}

/** May be repeated. An erase leaves the sealed weights, which prove that nothing opens them; a prune frees their room. */
async function removeWeights(
  context: RegistryContext,
  removal: Pick<Removal, 'name' | 'version' | 'dataKeyId' | 'action'>,
): Promise<void> {
  faultPoint('registry.removal.before-unwrap');
  await context.db.wraps.delete(removal.dataKeyId);
  faultPoint('registry.removal.unwrapped');
  if (removal.action === 'erase') return;
  await context.blobs.delete(blobNames(removal.name, removal.version).weights);
  faultPoint('registry.removal.weights-removed');
}

async function refuseObstacles(context: RegistryContext, target: EraseTarget, by: Actor): Promise<void> {
  const { name, version, reason } = target;
  const obstacles = obstaclesOf(context, name, version, target.serving);
  if (obstacles.length === 0) return;
  const isHeld = obstacles.includes('held');
  const code = isHeld ? 'registry.version-held' : 'registry.version-in-use';
  await context.log.append({
    kind: 'event',
    action: 'model.erase-refused',
    principal: by.principal,
    subject: `${name}@${version}`,
    detail: { reason, obstacles },
    reason: code,
  });
  throw new RegistryError(code, `${name}@${version} cannot be erased now: it is ${obstacles.join(', ')}`);
}
