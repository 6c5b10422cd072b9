import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Bus } from '../../bus/index.ts';
import type { TrainingConfig } from '../config.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import { leastThreshold, type Roster, rosterBytes, verifyRoster } from '../secure/roster.ts';
import { holdOut } from '../train-model.ts';
import { memberSubject } from './member-request.ts';
import { memberRows } from './member-rows.ts';
import { SecureMember } from './secure-member.ts';
import type { DropoutPolicy } from './secure-summation.ts';

export interface Rehearsal {
  readonly roster: Roster;
  close(): Promise<void>;
}

/** The parts of a table in a run that is tried out here: the coordinator's own rows, and those of each member. */
export function cutForRehearsal(
  table: LabelledTable,
  config: TrainingConfig,
  { members, seed }: { readonly members: number; readonly seed: number },
): { readonly held: LabelledTable; readonly parts: readonly LabelledTable[] } {
  const { train, validation, calibration } = holdOut(table, config, seed);
  const cut = (i: number) => Math.floor((train.length * i) / members);
  return {
    held: selectRows(table, Uint32Array.from([...validation, ...calibration]).sort()),
    parts: Array.from({ length: members }, (_, i) => selectRows(table, train.subarray(cut(i), cut(i + 1)))),
  };
}

/**
 * Members of a secure run in this process, with keys of a moment: for trying out what a run costs and gives, since here one
 * process sees all rows.
 */
export async function startRehearsal(
  bus: Bus,
  parts: readonly LabelledTable[],
  {
    run,
    policy,
    minCellRows,
  }: { readonly run: string; readonly policy: DropoutPolicy; readonly minCellRows: number },
): Promise<Rehearsal> {
  const approver = makeIdentity();
  const identities = parts.map((_, i) => ({ id: `member-${i}`, ...makeIdentity() }));
  const unsigned: Roster = {
    ...{ v: 1, run, approver: 'rehearsal' },
    members: identities.map(({ id, algorithm, publicKeyPem }) => ({ id, algorithm, publicKeyPem })),
    threshold: leastThreshold(parts.length),
    minGroup: policy === 'wait' ? parts.length : 3,
  };
  const signature = sign(null, rosterBytes(unsigned), approver.privateKey).toString('base64');
  const roster = verifyRoster({ roster: unsigned, signature }, approver);
  const stops: (() => Promise<void>)[] = [];
  for (const [i, { id, privateKey }] of identities.entries()) {
    const own = memberRows(parts[i] as LabelledTable, { duplicates: 'keep', maxRowsPerAttackType: 0 });
    const member = new SecureMember({
      ...{ self: id, roster, minCellRows, rows: own.rows, encode: own.encode },
      sign: async (message) => new Uint8Array(sign(null, message, privateKey)),
    });
    const stop = await bus.respond(memberSubject(run, id), (request) => member.handle(request));
    stops.push(async () => {
      await stop();
      await member.close();
    });
  }
  return {
    roster,
    close: async () => {
      for (const stop of stops) await stop();
    },
  };
}

function makeIdentity(): {
  readonly algorithm: 'ed25519';
  readonly publicKeyPem: string;
  readonly privateKey: KeyObject;
} {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    algorithm: 'ed25519',
    publicKeyPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    privateKey,
  };
}
