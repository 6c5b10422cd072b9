import type { Bus } from '../../src/bus/index.ts';
import type { LabelledBins } from '../../src/training/binning.ts';
import { memberSubject } from '../../src/training/distributed/member-request.ts';
import { SecureMember } from '../../src/training/distributed/secure-member.ts';
import { cutShard } from '../../src/training/distributed/shard-rows.ts';
import type { SecureRun } from './secure-run.ts';

/** Members of a secure run in this process, each with its part of the rows. */
export interface SecureHouse {
  readonly rows: ReadonlyMap<string, LabelledBins>;
  /** The member answers no more. */
  drop(id: string): Promise<void>;
  close(): Promise<void>;
}

export type OnRequest = (id: string, count: number, house: SecureHouse) => Promise<void>;

/** Cuts `training` into one part a member, in the order of the roster. */
export async function startMembers(
  bus: Bus,
  run: SecureRun,
  training: LabelledBins,
  options: {
    readonly onRequest?: OnRequest;
    readonly minCellRows?: number;
    /** Changes an answer on its way. */
    readonly onAnswer?: (id: string, answer: Uint8Array, count: number) => Uint8Array;
  } = {},
): Promise<SecureHouse> {
  const ids = [...run.members.keys()];
  const rows = new Map(ids.map((id, i) => [id, cutShard(training, undefined, i, ids.length).training]));
  const members = new Map<string, SecureMember>();
  const stops = new Map<string, () => Promise<void>>();
  const dropped = new Set<string>();
  const house: SecureHouse = {
    rows,
    drop: async (id) => {
      dropped.add(id);
      await stops.get(id)?.();
    },
    close: async () => {
      for (const stop of stops.values()) await stop();
      for (const member of members.values()) await member.close();
    },
  };
  for (const id of ids) {
    const own = rows.get(id) as LabelledBins;
    const member = new SecureMember({
      ...{ self: id, roster: run.roster, sign: run.signers.get(id) as never },
      ...{ rows: own.binned.rows, encode: () => own, minCellRows: options.minCellRows ?? 1 },
    });
    members.set(id, member);
    let count = 0;
    const handle = async (request: Uint8Array) => {
      const asked = ++count;
      await options.onRequest?.(id, asked, house);
      if (dropped.has(id)) return await new Promise<never>(() => {});
      const answer = await member.handle(request);
      return options.onAnswer?.(id, answer, asked) ?? answer;
    };
    stops.set(id, await bus.respond(memberSubject(run.roster.run, id), handle));
  }
  return house;
}
