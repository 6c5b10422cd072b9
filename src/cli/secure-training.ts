import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { type Bus, MemoryBus } from '../bus/index.ts';
import type { KeyInfo } from '../crypto/index.ts';
import {
  type Booster,
  cutForRehearsal,
  type DropoutPolicy,
  type LabelledTable,
  type PublishedSecureRecord,
  publishRecord,
  type Roster,
  resolveTrainingConfig,
  rosterDigest,
  SECURE_TRAINING_DEFAULTS,
  SecureTraining,
  startRehearsal,
  type TrainingResult,
  verifyRoster,
} from '../training/index.ts';
import { openBus } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseChoice, parseWhole } from './options.ts';
import { readApproverFile, readRosterFile } from './secure-files.ts';
import { withSession } from './session.ts';
import { count } from './text.ts';
import type { WorkersOptions } from './training-workers.ts';

/** Options of a training whose rows stay with their owners. */
export interface SecureTrainOptions extends WorkersOptions {
  readonly secure?: boolean;
  readonly roster?: string;
  readonly approver?: string;
  readonly dropout: DropoutPolicy;
  readonly minCellRows?: number;
  readonly answerSeconds: number;
  readonly noise?: number;
  readonly delta: number;
  readonly seed: number;
  readonly resume?: boolean;
}

/** A secure run that this process coordinates. */
export interface SecureRun {
  /** The coordinator's own rows: all are held out. */
  readonly held: LabelledTable;
  readonly booster: Booster;
  /** The result with the record of the run in its provenance. */
  record(trained: TrainingResult): TrainingResult;
  /** The model is safe: what the run left on the bus goes. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export function addSecureOptions(command: Command): Command {
  return command
    .option('--secure', 'sums of rows that their owners show to nobody, by secure aggregation')
    .option('--roster <file>', 'with --secure and --bus: the signed roster of members')
    .option('--approver <file>', 'with --roster: the approver whom you trust')
    .option(
      '--dropout <policy>',
      'when a member is lost: wait, or go on with the survivors',
      parseChoice(['wait', 'survivors'] as const),
      'wait' as const,
    )
    .option('--min-cell-rows <n>', 'rows of a member in a cell of a sum (default: 5)', parseWhole(1, 1024))
    .option(
      '--answer-seconds <n>',
      'how long a member may take over an answer, and be away',
      parseWhole(1, 86_400),
      SECURE_TRAINING_DEFAULTS.answerMs / 1_000,
    )
    .option(
      '--noise <x>',
      'differential privacy: deviation of the noise, 1 to 1000',
      parseDecimal(0.01, 1_000),
    )
    .option('--delta <p>', 'chance with which its bound may fail', parseDecimal(1e-12, 0.1), 1e-6);
}

/**
 * Opens a training by secure aggregation: with members on a bus, or, where none is named, with members of this process that get
 * the rows to train on in parts. What it leaves on the bus stays until it is cleared, for a coordinator that follows.
 */
export async function openSecureRun(
  context: Context,
  options: SecureTrainOptions,
  rows: LabelledTable,
): Promise<SecureRun> {
  checkOptions(options);
  const { dropout: policy, noise, delta } = options;
  const privacy = noise === undefined ? undefined : { noise, delta };
  const minCellRows =
    options.minCellRows ?? (privacy === undefined ? SECURE_TRAINING_DEFAULTS.minCellRows : 1);
  const { bus, roster, held, isRehearsal, close } = await openMembers(context, options, rows, minCellRows);
  if (policy === 'survivors' && roster.minGroup === roster.members.length) {
    await close();
    throw new CliError(
      'cli.usage',
      'the roster wants all members in each sum (minGroup): --dropout survivors could lose none',
    );
  }
  context.output.line(
    `run ${roster.run}: ${roster.members.length} members, ${count(held.rows)} rows of the coordinator's own`,
  );
  const secure = new SecureTraining({
    ...{ bus, roster, policy, minCellRows, privacy },
    answerMs: options.answerSeconds * 1_000,
  });
  const record = (trained: TrainingResult): TrainingResult => {
    if (secure.record === undefined) {
      throw new CliError('cli.check-failed', 'the secure run left no record of who took part');
    }
    const published = publishRecord(secure.record, {
      ...{ maxWeight: SECURE_TRAINING_DEFAULTS.maxWeight, approver: roster.approver, rehearsal: isRehearsal },
      ...{ roster: rosterDigest(roster), threshold: roster.threshold, minGroup: roster.minGroup },
    });
    const configuration = { ...trained.provenance.configuration, secure: published };
    return { ...trained, provenance: { ...trained.provenance, configuration } };
  };
  return { held, booster: secure.booster, record, clear: () => secure.close(), close };
}

interface Members {
  readonly bus: Bus;
  readonly roster: Roster;
  readonly held: LabelledTable;
  readonly isRehearsal: boolean;
  close(): Promise<void>;
}

async function openMembers(
  context: Context,
  options: SecureTrainOptions,
  rows: LabelledTable,
  minCellRows: number,
): Promise<Members> {
  const { bus: server, workers = 0, seed, dropout: policy } = options;
  if (server !== undefined) {
    const approver = await readApproverFile(options.approver ?? '');
    const roster = verifyRoster(await readRosterFile(options.roster ?? ''), approver);
    await refuseOwnRoster(context, approver.publicKeyPem);
    const bus = await openBus(options);
    return { bus, roster, held: rows, isRehearsal: false, close: () => bus.close() };
  }
  const config = resolveTrainingConfig(context.config.training);
  const { held, parts } = cutForRehearsal(rows, config, { members: workers, seed });
  const bus = new MemoryBus();
  const run = `rehearsal-${randomUUID().slice(0, 8)}`;
  const rehearsal = await startRehearsal(bus, parts, { run, policy, minCellRows });
  const close = async () => {
    await rehearsal.close();
    await bus.close();
  };
  return { bus, roster: rehearsal.roster, held, isRehearsal: true, close };
}

function checkOptions({ bus, roster, approver, workers, run, resume }: SecureTrainOptions): void {
  const refuse = (why: string): never => {
    throw new CliError('cli.usage', why);
  };
  if (resume === true) {
    refuse(
      'a secure run goes on by itself: start the same command again, with the same roster, and no --resume',
    );
  }
  if (run !== undefined) refuse('the roster names a secure run: leave --run out');
  if (bus === undefined) {
    if (roster !== undefined) refuse('--roster needs --bus nats://host:port, where its members are');
    if (workers === undefined || workers < 3 || workers > 255) {
      refuse('--secure without --bus needs --workers N, 3 to 255: members of this process, for a rehearsal');
    }
  } else {
    if (workers !== undefined)
      refuse('the roster says how many members a secure run has: leave --workers out');
    if (roster === undefined || approver === undefined) {
      refuse('--secure --bus needs --roster FILE and --approver FILE');
    }
  }
}

/** Whoever coordinates must not choose who takes part: two rosters that differ by one member would show its rows. */
async function refuseOwnRoster(context: Context, publicKeyPem: string): Promise<void> {
  const { keys } = (await withSession(context, ({ api }) => api.call('GET', '/v1/keys'))) as {
    keys: readonly KeyInfo[];
  };
  if (keys.some((key) => key.publicKeyPem === publicKeyPem)) {
    throw new CliError(
      'cli.check-failed',
      'this site signed the roster: who approves a run does not coordinate it',
    );
  }
}

/** Lines of `guardian models show`. */
export function secureLines(record: PublishedSecureRecord): readonly string[] {
  const { run, policy, rows, threshold, minGroup, minCellRows, trees, privacy, reproducible } = record;
  const members = Object.keys(rows);
  const whole = trees.filter(([, group]) => record.groups[group]?.length === members.length).length;
  return [
    `secure run    ${run}, policy ${policy}, roster of ${record.approver}${record.rehearsal ? ' (a rehearsal in one process: nothing was hidden)' : ''}`,
    `members       ${members.length}: ${members.join(', ')}; ${count(Object.values(rows).reduce((sum, n) => sum + n, 0))} rows`,
    `sums          of ${minGroup} members at least, ${threshold} must answer, cells of ${minCellRows} rows; ${whole} of ${trees.length} trees of all members`,
    privacy === undefined
      ? 'privacy       no noise'
      : `privacy       epsilon ${privacy.epsilon.toFixed(3)} at delta ${privacy.delta} (${privacy.mechanism}, ${privacy.sums} sums)`,
    `reproducible  ${reproducible ? 'yes, from the rows of its members and this list' : 'no: the noise is secret'}`,
  ];
}

/** A parser for a number within bounds, both included. */
function parseDecimal(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new CliError('cli.usage', `expected a number from ${low} to ${high}, got ${text.slice(0, 40)}`);
    }
    return value;
  };
}
