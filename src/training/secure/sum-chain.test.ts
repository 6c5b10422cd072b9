import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSecureRun, playChained, playRound, type SecureRun } from '../../../test/support/secure-run.ts';
import { sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import { AnsweredRounds } from './answered-rounds.ts';
import { nextSecret } from './masks.ts';
import { AggregationMember } from './member.ts';
import { type AggregationId, type Signed, signMessage } from './messages.ts';
import type { SumChain } from './sum-chain.ts';

const id = (round: number, tree = 1, attempt = 0): AggregationId => ({ run: 'run-1', tree, round, attempt });

const fails = (what: string, says: RegExp) => (error: unknown) =>
  error instanceof TrainingError && error.code === `training.${what}` && says.test(error.message);

function vectorsOf(run: SecureRun, salt = 0, length = 50): Map<string, Int32Array> {
  return new Map(
    [...run.members.keys()].map((name, m) => [
      name,
      Int32Array.from({ length }, (_, i) => Math.imul(i + 1 + salt, 0x9e3779b1) ^ (m << 7)),
    ]),
  );
}

function plainSum(vectors: ReadonlyMap<string, Int32Array>, group: readonly string[]): Int32Array {
  const sum = new Int32Array([...vectors.values()][0]?.length ?? 0);
  for (const name of group) for (const [i, v] of (vectors.get(name) as Int32Array).entries()) sum[i]! += v;
  return sum;
}

/** A run whose first sum was opened for its group. */
async function begin(n: number, drops: Parameters<typeof playRound>[3] = {}) {
  const run = makeSecureRun(n);
  const { chain, survivors } = await playRound(run, id(0), vectorsOf(run), drops);
  assert.ok(chain);
  return { run, chain, survivors };
}

test('further sums of one group take a message a member, over trees too', async () => {
  const { run, chain } = await begin(6);
  for (const [salt, each] of [id(1), id(5), id(5, 1, 1), id(6, 2), id(7, 9)].entries()) {
    const vectors = vectorsOf(run, salt, 40_000);
    const { sum } = await playChained(run, each, vectors, { chain });
    assert.deepEqual(sum, plainSum(vectors, chain.group));
  }
});

test('whoever was lost in the first sum is in none after it, and can answer none', async () => {
  const { run, chain, survivors } = await begin(7, { drops: { masked: ['w04'] } });
  assert.deepEqual(chain.group, survivors);
  const vectors = vectorsOf(run, 3);
  const { sum } = await playChained(run, id(1), vectors, { chain });
  assert.deepEqual(sum, plainSum(vectors, survivors));
  const lost = run.members.get('w04')!;
  await assert.rejects(lost.chain(id(1), Int32Array.of(1)), fails('aggregation-replayed', /no group/));
});

test('no chain begins before everyone in the sum has revealed', async () => {
  const run = makeSecureRun(7);
  const { chain } = await playRound(run, id(0), vectorsOf(run), { drops: { reveal: ['w06'] } });
  assert.equal(chain, undefined);
});

test('with one vector wanting nothing is opened, and what is added up is noise', async () => {
  const { run, chain } = await begin(6);
  const zeros = new Map([...run.members.keys()].map((name) => [name, new Int32Array(1 << 18)]));
  await assert.rejects(
    playChained(run, id(1), zeros, { chain, drops: ['w03'] }),
    fails('aggregation-below-threshold', /all 6 members, got 5/),
  );
  const vectors: Int32Array[] = [];
  const onWay = (_: Signed<'chained'>, vector: Int32Array) => void vectors.push(vector.slice());
  const again = await begin(4);
  await playChained(again.run, id(1), zeros, { chain: again.chain, onWay });
  const partial = new Int32Array(1 << 18);
  for (const vector of vectors.slice(1)) for (let i = 0; i < partial.length; i++) partial[i]! += vector[i]!;
  for (const received of [...vectors, partial]) assertUniform(received);
});

test('members who are asked different things open noise, and are named', async () => {
  const { run, chain } = await begin(4);
  const question = sha256('another question');
  const zeros = new Map([...run.members.keys()].map((name) => [name, new Int32Array(1 << 16)]));
  const asked: Int32Array[] = [];
  for (const [name, member] of run.members) {
    const vector = (zeros.get(name) as Int32Array).slice();
    await member.chain(name === 'w02' ? { ...id(1), question } : id(1), vector);
    asked.push(vector);
  }
  const sum = new Int32Array(1 << 16);
  for (const vector of asked) for (let i = 0; i < sum.length; i++) sum[i]! += vector[i]!;
  assertUniform(sum);
  // Nor do they agree again: what each was asked stays in its secrets, and it says so.
  chain.next(id(1), 1);
  await assert.rejects(
    playChained(run, id(2), zeros, { chain }),
    fails('aggregation-equivocation', /w02: it goes on/),
  );
  const other = await begin(4);
  await assert.rejects(
    playChained(other.run, id(1), zeros, { chain: other.chain, ids: { w01: { ...id(1), question } } }),
    fails('aggregation-replayed', /w01/),
  );
});

test('a member answers each id once, and none after the chain was given up', async () => {
  const { run, chain } = await begin(4);
  const vectors = vectorsOf(run);
  await playChained(run, id(3), vectors, { chain });
  const member = run.members.get('w00')!;
  for (const old of [id(3), id(2), id(0), { ...id(4), run: 'run-2' }]) {
    await assert.rejects(member.chain(old, Int32Array.of(1)), fails('aggregation-replayed', /w00/));
  }
  await member.advertise(id(4));
  await assert.rejects(member.chain(id(5), Int32Array.of(1)), fails('aggregation-replayed', /no group/));
});

test('after a further sum of a tree, no group is answered that one member tells apart', async () => {
  const { run, chain } = await begin(10);
  const vectors = vectorsOf(run);
  // A tree whose only sum so far is a further one: it counts as opened, though nobody revealed anything.
  await playChained(run, id(1, 2), vectors, { chain });
  const retry = playRound(run, id(2, 2), vectors, { drops: { masked: ['w04'] } });
  await assert.rejects(retry, fails('aggregation-two-answers', /1 members are between/));
  await playRound(run, id(3, 3), vectors, { drops: { masked: ['w04'] } });
});

test('and after a sum of other members, no further one of the old group', async () => {
  const run = makeSecureRun(10);
  const vectors = vectorsOf(run);
  await playRound(run, id(0, 1), vectors, { drops: { shares: ['w04'] } });
  const { chain } = await playRound(run, id(0, 2), vectors);
  await playChained(run, id(1, 2), vectors, { chain: chain as SumChain });
  await assert.rejects(
    playChained(run, id(9, 1), vectors, { chain: chain as SumChain }),
    fails('aggregation-replayed', /later round/),
  );
});

test('what is given up while it is written down is not masked by wiped secrets', async () => {
  const run = makeSecureRun(4);
  let meanwhile = () => {};
  const answered = new AnsweredRounds({ save: async () => meanwhile() });
  const sign = run.signers.get('w00')!;
  const member = new AggregationMember({ self: 'w00', roster: run.roster, sign, answered });
  const members = new Map([...run.members, ['w00', member]]);
  await playRound({ ...run, members }, id(0), vectorsOf(run));
  meanwhile = () => member.abandon();
  const vector = new Int32Array(8);
  await assert.rejects(member.chain(id(0, 2), vector), fails('aggregation-replayed', /given up/));
  assert.deepEqual(vector, new Int32Array(8));
  meanwhile = () => {};
  const { reveal } = member;
  member.reveal = async (...asked) => {
    meanwhile = () => member.abandon();
    return await reveal.apply(member, asked);
  };
  const play = playRound({ ...run, members }, id(0, 3), vectorsOf(run));
  await assert.rejects(play, fails('aggregation-replayed', /given up/));
  meanwhile = () => {};
  await assert.rejects(member.chain(id(0, 4), vector), fails('aggregation-replayed', /no group/));
});

const TAMPERED: readonly (readonly [
  string,
  (m: Signed<'chained'>, v: Int32Array, earlier: Signed<'chained'> | undefined) => void,
  string,
])[] = [
  ['signature', (m) => Object.assign(m, { signature: 'AAAA' }), 'tampered'],
  ['vector', (_, v) => void v.fill(1, 0, 1), 'tampered'],
  ['digest', (m) => Object.assign(m.body, { vector: sha256('x') }), 'tampered'],
  ['chain', (m) => Object.assign(m.body, { chain: sha256('x') }), 'tampered'],
  ['length', (m) => Object.assign(m.body, { length: 7 }), 'tampered'],
  ['field', (m) => Object.assign(m.body, { extra: 1 }), 'tampered'],
  ['phase', (m) => Object.assign(m, { phase: 'masked' }), 'tampered'],
  ['round', (m) => Object.assign(m, { id: id(3) }), 'tampered'],
  ['sender', (m) => Object.assign(m, { from: 'w03' }), 'tampered'],
  ['message by the one before it', (m, _, earlier) => Object.assign(m, earlier), 'replayed'],
];
for (const [what, change, code] of TAMPERED) {
  test(`names the sender of a further sum when its ${what} is changed on the way`, async () => {
    const { run, chain } = await begin(4);
    let earlier: Signed<'chained'> | undefined;
    const remember = (message: Signed<'chained'>) => {
      if (message.from === 'w02') earlier = structuredClone(message);
    };
    await playChained(run, id(1), vectorsOf(run), { chain, onWay: remember });
    const onWay = (message: Signed<'chained'>, vector: Int32Array) => {
      if (message.from === 'w02') change(message, vector, earlier);
    };
    const named = what === 'sender' ? /w03/ : /w02/;
    await assert.rejects(
      playChained(run, id(2), vectorsOf(run), { chain, onWay }),
      fails(`aggregation-${code}`, named),
    );
  });
}

test('refuses a message that comes twice, or from outside the group', async () => {
  const { run, chain } = await begin(7, { drops: { masked: ['w06'] } });
  const sum = chain.next(id(1), 1);
  const vector = Int32Array.of(1);
  const message = await run.members.get('w00')!.chain(id(1), vector);
  sum.accept(message, vector);
  assert.throws(() => sum.accept(message, vector), fails('aggregation-replayed', /w00: chained came twice/));
  const { signature: _, ...content } = message;
  const sign = run.signers.get('w06')!;
  const stranger = await signMessage<'chained'>(run.roster, { ...content, from: 'w06' }, sign);
  assert.throws(() => sum.accept(stranger, vector), fails('aggregation-replayed', /w06.*outside/));
});

test('secrets step forward, and every step gives another seed', () => {
  const secret = new Uint8Array(32).fill(7);
  const seen = new Set<string>();
  for (const context of ['a', 'a', 'b']) {
    seen.add(Buffer.from(nextSecret(secret, context)).toString('hex'));
    seen.add(Buffer.from(secret).toString('hex'));
  }
  assert.equal(seen.size, 6);
});

/** Bytes of a vector against the uniform distribution: six deviations of chi square with 255 degrees are one in 10^9. */
function assertUniform(vector: Int32Array): void {
  const counts = new Float64Array(256);
  for (const byte of new Uint8Array(vector.buffer)) counts[byte]!++;
  const expected = (vector.length * 4) / 256;
  const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  assert.ok(chi2 > 120 && chi2 < 391, `chi2 ${chi2}`);
}
