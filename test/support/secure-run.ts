import { generateKeyPairSync, sign } from 'node:crypto';
import { AggregationRound, type RoundPhase } from '../../src/training/secure/aggregation-round.ts';
import { AggregationMember } from '../../src/training/secure/member.ts';
import type { AggregationId, Signed } from '../../src/training/secure/messages.ts';
import {
  leastThreshold,
  type Roster,
  rosterBytes,
  type SignedRoster,
} from '../../src/training/secure/roster.ts';
import type { SumChain } from '../../src/training/secure/sum-chain.ts';

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
  readonly drops?: Partial<Record<RoundPhase, readonly string[]>>;
  /** Changes what a member says before the coordinator has it; a copy, free to change. */
  readonly onWay?: (message: Signed<RoundPhase>, vector: Int32Array | undefined) => void;
  /** Changes what the coordinator relays to one member. */
  readonly relay?: (messages: Signed<RoundPhase>[], to: string) => Signed<RoundPhase>[];
}

/** Plays one sum from advert to open. `vectors` are copied. Gives the sum and who is in it. */
export async function playRound(
  run: SecureRun,
  id: AggregationId,
  vectors: ReadonlyMap<string, Int32Array>,
  script: RoundScript = {},
): Promise<{
  sum: Int32Array;
  survivors: readonly string[];
  masked: ReadonlyMap<string, Int32Array>;
  chain: SumChain | undefined;
}> {
  const length = [...vectors.values()][0]?.length ?? 0;
  const round = new AggregationRound(id, run.roster, length);
  const masked = new Map<string, Int32Array>();
  let alive = [...run.members.keys()];
  const phase = async <P extends RoundPhase>(
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
  const relayed = <P extends RoundPhase>(messages: readonly Signed<P>[], to: string): Signed<P>[] => {
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
  return { sum: round.open(), survivors: round.survivors, masked, chain: round.chain() };
}

/** Plays a further sum of a chain. `ids`: what a member is asked in place of `id`. */
export async function playChained(
  run: SecureRun,
  id: AggregationId,
  vectors: ReadonlyMap<string, Int32Array>,
  {
    chain,
    onWay,
    ids,
    drops = [],
  }: {
    readonly chain: SumChain;
    readonly onWay?: (message: Signed<'chained'>, vector: Int32Array) => void;
    readonly ids?: Readonly<Record<string, AggregationId>>;
    readonly drops?: readonly string[];
  },
): Promise<{ sum: Int32Array; masked: ReadonlyMap<string, Int32Array> }> {
  const length = [...vectors.values()][0]?.length ?? 0;
  const sum = chain.next(id, length);
  const masked = new Map<string, Int32Array>();
  for (const self of sum.expected) {
    if (drops.includes(self)) continue;
    const vector = (vectors.get(self) as Int32Array).slice();
    const member = run.members.get(self) as AggregationMember;
    const message = structuredClone(await member.chain(ids?.[self] ?? id, vector));
    masked.set(self, vector.slice());
    onWay?.(message, vector);
    sum.accept(message, vector);
  }
  return { sum: sum.open(), masked };
}

function identity() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string };
}
