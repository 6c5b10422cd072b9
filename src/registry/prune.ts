import type { Actor, RegistryContext } from './context.ts';
import { PRUNE } from './custody-index.ts';
import { commitRemoval, type Obstacle, obstaclesOf, type Serving } from './erase.ts';
import { checkName } from './names.ts';
import { DAY_MS, type RetentionConfig } from './retention-config.ts';
import { findPublication } from './version-files.ts';

/** Why a version stays. */
export type KeepReason = Obstacle | 'audited' | 'rollback-target' | 'newest' | 'young' | 'not-in-log';

export interface PruneVerdict {
  readonly version: string;
  /** RFC 3339 UTC; absent where database and log disagree about the version. */
  readonly createdAt?: string;
  readonly goes: boolean;
  /** Empty where it goes. */
  readonly stays: readonly KeepReason[];
}

export interface PruneResult {
  readonly name: string;
  readonly policy: Pick<RetentionConfig, 'keep' | 'keepDays' | 'auditDays'>;
  readonly dryRun: boolean;
  /** Every version that has its weights, newest first. */
  readonly versions: readonly PruneVerdict[];
  /** What went, or would go. */
  readonly pruned: readonly string[];
}

export interface PruneOptions {
  /** Newest versions that stay; the configuration's number by default. */
  readonly keep?: number;
  /** Versions younger than that stay; the configuration's days by default. */
  readonly keepDays?: number;
  /** Decides and changes nothing. */
  readonly dryRun?: boolean;
  readonly serving: Serving;
}

/**
 * Removes the weights and key wraps of versions that no rule keeps: only what is older than every rule asks goes. Each
 * is an audited change of its own, so that a crash leaves some whole and the others gone. Throws `registry.name-invalid`.
 */
export async function pruneModel(
  context: RegistryContext,
  name: string,
  options: PruneOptions,
  by: Actor,
): Promise<PruneResult> {
  checkName(name, 'model name');
  await context.index.catchUp();
  const { keep, keepDays, auditDays } = context.retention;
  const policy = { keep: options.keep ?? keep, keepDays: options.keepDays ?? keepDays, auditDays };
  const versions: PruneVerdict[] = [];
  for (const [newer, version] of livingVersions(context, name).entries()) {
    versions.push(await judge(context, { name, version, newer }, policy, options.serving));
  }
  const pruned = versions.filter(({ goes }) => goes).map(({ version }) => version);
  const dryRun = options.dryRun === true;
  if (!dryRun) {
    const reason = `policy: keep ${policy.keep}, keep days ${policy.keepDays}, audit days ${auditDays}`;
    for (const version of [...pruned].reverse()) {
      const { dataKeyId, digest } = await findPublication(context, name, version);
      await commitRemoval(context, { action: PRUNE, name, version, dataKeyId, digest, reason }, by);
    }
  }
  return { name, policy, dryRun, versions, pruned };
}

/** Versions whose weights are there, the one published last first. A removal that was cut short is taken up again. */
function livingVersions(context: RegistryContext, name: string): readonly string[] {
  const intentOf = (version: string) => context.index.publication(name, version)?.intent ?? 0;
  return [...context.index.versions(name)]
    .filter((version) => context.index.custody.removal(name, version) === undefined)
    .sort((a, b) => intentOf(b) - intentOf(a));
}

async function judge(
  context: RegistryContext,
  { name, version, newer }: { name: string; version: string; newer: number },
  policy: PruneResult['policy'],
  serving: Serving,
): Promise<PruneVerdict> {
  const row = await findPublication(context, name, version).then(
    () => context.db.versions.find(name, version),
    () => undefined,
  );
  if (row === undefined) return { version, goes: false, stays: ['not-in-log'] };
  const now = context.clock.now();
  const checks: Readonly<Record<Exclude<KeepReason, Obstacle | 'not-in-log'>, boolean>> = {
    audited: lastChampion(context, name, version) >= now - policy.auditDays * DAY_MS,
    'rollback-target': isRollbackTarget(context, name, version),
    newest: newer < policy.keep,
    young: Date.parse(row.createdAt) > now - policy.keepDays * DAY_MS,
  };
  const stays: readonly KeepReason[] = [
    ...obstaclesOf(context, name, version, serving),
    ...(Object.keys(checks) as (keyof typeof checks)[]).filter((reason) => checks[reason]),
  ];
  return { version, createdAt: row.createdAt, goes: stays.length === 0, stays };
}

/** When the version was champion last, milliseconds since 1970; minus infinity where it never was. */
function lastChampion(context: RegistryContext, name: string, version: string): number {
  const moves = context.index.moves(name, 'champion');
  return moves.reduce((latest, move, i) => {
    if (move.version !== version) return latest;
    const next = moves[i + 1];
    return next === undefined ? context.clock.now() : Math.max(latest, Date.parse(next.time));
  }, Number.NEGATIVE_INFINITY);
}

/** Whether a rollback of some alias may lead here: an alias was on it just before where it is now. */
function isRollbackTarget(context: RegistryContext, name: string, version: string): boolean {
  return context.index
    .pointers(name)
    .some(({ alias }) => context.index.moves(name, alias).at(-1)?.previous === version);
}
