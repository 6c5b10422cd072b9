import { generateKeyPairSync, sign } from 'node:crypto';
import { AggregationRound } from '../../src/training/secure/aggregation-round.ts';
import { AggregationMember } from '../../src/training/secure/member.ts';
import type { AggregationId, Phase, Signed } from '../../src/training/secure/messages.ts';
import {
  leastThreshold,
  type Roster,
  rosterBytes,
  type SignedRoster,
} from '../../src/training/secure/roster.ts';

/** Identity keys, roster and members of a secure run, all in this process. */
export interface SecureRun {
  readonly roster: Roster;
  readonly signed: SignedRoster;
  readonly approver: { readonly algorithm: 'ed25519'; readonly publicKeyPem: string };
  readonly members: ReadonlyMap<string, AggregationMember>;
  readonly signers: ReadonlyMap<string, (message: Uint8Array) => Promise<Uint8Array>>;
}

export function makeSecureRun(
  n: number,
  rules: Partial<Pick<Roster, 'threshold' | 'minGroup'>> = {},
): SecureRun {
  const approver = identity();
  const keys = new Map(Array.from({ length: n }, (_, i) => [`w${String(i).padStart(2, '0')}`, identity()]));
  const roster: Roster = {
    v: 1,
    run: 'run-1',
    members: [...keys].map(([id, { publicKeyPem }]) => ({ id, algorithm: 'ed25519', publicKeyPem })),
    threshold: rules.threshold ?? leastThreshold(n),
    minGroup: rules.minGroup ?? 3,
    approver: 'ada',
  };
  const signature = sign(null, rosterBytes(roster), approver.privateKey).toString('base64');
  const signers = new Map(
    [...keys].map(([id, { privateKey }]) => [
      id,
      async (m: Uint8Array) => new Uint8Array(sign(null, m, privateKey)),
    ]),
  );
  const members = new Map(
    [...signers].map(([self, signer]) => [self, new AggregationMember({ self, roster, sign: signer })]),
  );
  return {
    roster,
    signed: { roster, signature },
    approver: { algorithm: 'ed25519', publicKeyPem: approver.publicKeyPem },
    members,
    signers,
  };
}

export interface RoundScript {
  /** Who falls silent before which phase. */
  readonly drops?: Partial<Record<Phase, readonly string[]>>;
  /** Changes what a member says before the coordinator has it; a copy, free to change. */
  readonly onWay?: (message: Signed<Phase>, vector: Int32Array | undefined) => void;
  /** Changes what the coordinator relays to one member. */
  readonly relay?: (messages: Signed<Phase>[], to: string) => Signed<Phase>[];
}

/** Plays one sum from advert to open. `vectors` are copied. Gives the sum and who is in it. */
export async function playRound(
  run: SecureRun,
  id: AggregationId,
  vectors: ReadonlyMap<string, Int32Array>,
  script: RoundScript = {},
): Promise<{ sum: Int32Array; survivors: readonly string[]; masked: ReadonlyMap<string, Int32Array> }> {
  const length = [...vectors.values()][0]?.length ?? 0;
  const round = new AggregationRound(id, run.roster, length);
  const masked = new Map<string, Int32Array>();
  let alive = [...run.members.keys()];
  const phase = async <P extends Phase>(
    name: P,
    say: (member: AggregationMember, self: string) => Promise<Signed<P>>,
  ) => {
    alive = alive.filter((member) => script.drops?.[name]?.includes(member) !== true);
    for (const self of alive) {
      const message = structuredClone(await say(run.members.get(self) as AggregationMember, self));
      const vector = name === 'masked' ? masked.get(self)?.slice() : undefined;
      script.onWay?.(message, vector);
      round.accept(message, vector);
    }
  };
  const relayed = <P extends Phase>(messages: readonly Signed<P>[], to: string): Signed<P>[] => {
    const copies = structuredClone([...messages]);
    return (script.relay?.(copies, to) ?? copies) as Signed<P>[];
  };
  await phase('advert', (member) => member.advertise(id));
  const adverts = round.close('advert');
  await phase('shares', (member, self) => member.share(id, relayed(adverts, self)));
  const shares = round.close('shares');
  await phase('masked', (member, self) => {
    const vector = (vectors.get(self) as Int32Array).slice();
    masked.set(self, vector);
    return member.mask(id, relayed(shares, self), vector);
  });
  const announced = round.close('masked');
  await phase('agreement', (member, self) => member.agree(id, relayed(announced, self)));
  const agreements = round.close('agreement');
  await phase('reveal', (member, self) => member.reveal(id, relayed(agreements, self)));
  return { sum: round.open(), survivors: round.survivors, masked };
}

function identity() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string };
}
