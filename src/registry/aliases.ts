import { isNoRoom } from '../audit/index.ts';
import { type Digest, faultPoint } from '../base/index.ts';
import type { AliasChangeRow } from '../storage/index.ts';
import { auditedAttempt } from './audited-attempt.ts';
import type { Actor, RegistryContext } from './context.ts';
import { evidenceBlob } from './door-gates.ts';
import { RegistryError } from './errors.ts';
import { type AliasMove, PROMOTE, ROLLBACK } from './log-index.ts';
import { checkName, checkVersion } from './names.ts';
import {
  type AcceptModel,
  isKeyStoreAway,
  type PreparedMove,
  preparePromotion,
  prepareRollback,
  type Resident,
} from './prepare-move.ts';

/** One move of an alias, with who approved it. */
export interface AliasChange {
  readonly name: string;
  readonly alias: string;
  readonly version: string;
  /** Absent at the alias's first move. */
  readonly previous?: string;
  readonly action: 'promote' | 'rollback';
  readonly principal: string;
  /** RFC 3339 UTC. */
  readonly time: string;
  /** Index of the intent in the audit log. */
  readonly intent: number;
  readonly approvals: readonly string[];
  /** With one, whoever moves the alias approves it, the author too; with two, two others did before. */
  readonly approvalsRequired: 1 | 2;
  /** Indices of the two approvals' intents. */
  readonly approvalIntents: readonly number[];
  /** Whose gates counted: the report that came with the version, or the registry's own evaluator. */
  readonly gates: 'submitter' | 'evaluator';
  /** Digest of the evaluator's signed report. */
  readonly evidence?: Digest;
  /** Index and time of the outcome: from then on the alias points here. */
  readonly outcome: number;
  /** RFC 3339 UTC. */
  readonly doneAt: string;
}

/**
 * Points an alias at a version that verifies, is approved, and passes its gates once more. Throws `registry.gate-failed`,
 * `registry.approvals-missing`, `registry.gate-data-*`, `registry.version-unknown`, and what verification throws; each refusal stands in the log as failed.
 */
export async function promoteVersion(
  context: RegistryContext,
  target: { readonly name: string; readonly version: string; readonly alias: string },
  by: Actor,
  accept?: AcceptModel,
): Promise<AliasChange> {
  checkName(target.name, 'model name');
  checkName(target.alias, 'alias');
  checkVersion(target.version);
  return await moveAlias(context, { ...target, action: 'promote' }, by, () =>
    preparePromotion(context, target, by, accept),
  );
}

/** Points an alias back at the version approved before the present one. Throws `registry.no-previous`. */
export async function rollbackAlias(
  context: RegistryContext,
  target: { readonly name: string; readonly alias: string },
  by: Actor,
  resident: Resident = () => undefined,
  accept?: AcceptModel,
): Promise<AliasChange> {
  checkName(target.name, 'model name');
  checkName(target.alias, 'alias');
  const moves = context.index.moves(target.name, target.alias);
  if (moves.length === 0) throw unknownAlias(target.name, target.alias);
  const version = approvedVersions(moves).at(-2);
  if (version === undefined) {
    throw new RegistryError('registry.no-previous', `${target.name}@${target.alias} has no earlier version`);
  }
  return await moveAlias(context, { ...target, version, action: 'rollback' }, by, () =>
    prepareRollback(context, { ...target, version }, by, resident, accept),
  );
}

/**
 * The version an alias points at. The log decides: a row that tells of another move, an older one, or of none where the
 * log knows one, throws `registry.pointer-not-in-log`.
 */
export async function resolveAlias(
  context: RegistryContext,
  name: string,
  alias: string,
): Promise<AliasMove> {
  const row = await context.db.aliases.find(name, alias);
  const latest = context.index.moves(name, alias).at(-1);
  if (row === undefined && latest === undefined) throw unknownAlias(name, alias);
  if (
    row === undefined ||
    latest === undefined ||
    row.intent !== latest.intent ||
    row.version !== latest.version
  ) {
    throw new RegistryError(
      'registry.pointer-not-in-log',
      `${name}@${alias} points elsewhere than its latest move in the audit log`,
    );
  }
  return latest;
}

/** Every move, oldest first. Throws `registry.pointer-not-in-log` where the database tells another history. */
export async function aliasHistory(context: RegistryContext, name: string): Promise<readonly AliasChange[]> {
  checkName(name, 'model name');
  const moves = context.index.allMoves(name);
  const rows = await context.db.aliases.history(name);
  const agrees =
    rows.length === moves.length &&
    rows.every((row, i) => {
      const move = moves[i];
      return (
        move !== undefined &&
        row.intent === move.intent &&
        row.alias === move.alias &&
        row.version === move.version &&
        row.previous === move.previous &&
        row.action === move.action &&
        row.principal === move.principal &&
        row.approvals.join('\n') === move.approvals.join('\n')
      );
    });
  if (!agrees) {
    throw new RegistryError(
      'registry.pointer-not-in-log',
      `the history of ${name} is not that of the audit log`,
    );
  }
  return moves.map(toChange);
}

async function moveAlias(
  context: RegistryContext,
  target: { name: string; alias: string; version: string; action: 'promote' | 'rollback' },
  by: Actor,
  prepare: () => Promise<PreparedMove>,
): Promise<AliasChange> {
  const { name, alias, version, action } = target;
  const previous = context.index.moves(name, alias).at(-1)?.version;
  const pointers = { alias, previous: previous ?? null };
  const what = {
    action: action === 'promote' ? PROMOTE : ROLLBACK,
    principal: by.principal,
    subject: `${name}@${version}`,
    asked: { ...pointers, approvals: [by.principal] },
  };
  const intent = await auditedAttempt(context.log, what, {
    prepare,
    detail: ({ signed: _, gatesPassed: __, ...detail }) => ({ ...pointers, ...detail }),
    work: async ({ approvals, evidence, signed, gatesPassed }, index) => {
      faultPoint('registry.alias.verified');
      // Stored whatever it says: why a version was refused is evidence too.
      if (evidence !== null && signed !== undefined) await context.blobs.put(evidenceBlob(evidence), signed);
      faultPoint('registry.alias.evidence');
      if (!gatesPassed) {
        throw new RegistryError('registry.gate-failed', `${name}@${version} did not pass its gates`);
      }
      const digest = context.index.publication(name, version)?.digest;
      // Before the move: a promotion whose snapshot could not be taken did not happen.
      if (action === 'promote' && digest !== undefined) {
        await context.blobs.onPromotion({ name, version, digest });
      }
      await moveRow(context, {
        name,
        alias,
        version,
        ...(previous === undefined ? {} : { previous }),
        intent: index,
        action,
        principal: by.principal,
        changedAt: new Date(context.clock.now()).toISOString(),
        approvals,
      });
      return index;
    },
  });
  await context.index.catchUp();
  // Outside of the audited work: the checkpoint is to cover the outcome too.
  await context.log.checkpoint().catch((error: unknown) => {
    // The move is durable and done without it. To call it failed would leave a pointer moved and the model before in place; the
    // log signs by itself when the keys are back, or there is room on the disk.
    if (!isKeyStoreAway(error) && !isNoRoom(error)) throw error;
  });
  return toChange(await resolveAlias(context, name, alias).then((move) => checkIntent(move, intent)));
}

/** The row decides: one that is there was moved, whatever was said of the writing. */
async function moveRow(context: RegistryContext, row: AliasChangeRow): Promise<void> {
  try {
    await context.db.aliases.move(row);
    faultPoint('registry.alias.moved');
  } catch (error) {
    if ((await context.db.aliases.findChange(row.intent)) === undefined) throw error;
  }
}

function checkIntent(move: AliasMove, intent: number): AliasMove {
  if (move.intent === intent) return move;
  throw new RegistryError('registry.pointer-not-in-log', 'the alias was moved by someone else in between');
}

/** A promotion adds to the stack of approved versions, a rollback takes the newest away. */
function approvedVersions(moves: readonly AliasMove[]): readonly string[] {
  const stack: string[] = [];
  for (const { action, version } of moves) {
    if (action === 'rollback') stack.pop();
    else if (stack.at(-1) !== version) stack.push(version);
  }
  return stack;
}

/** A move as it is told. */
export function toChange(move: AliasMove): AliasChange {
  const { previous, evidence, manifestDigest: _, ...rest } = move;
  return {
    ...rest,
    ...(previous !== undefined && { previous }),
    ...(evidence !== undefined && { evidence }),
  };
}

function unknownAlias(name: string, alias: string): RegistryError {
  return new RegistryError('registry.alias-unknown', `${name} has no alias ${alias}`);
}
