import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  makeSecureRun,
  playRound,
  type RoundScript,
  type SecureRun,
} from '../../../test/support/secure-run.ts';
import { TrainingError } from '../errors.ts';
import { type AggregationId, type Phase, type Signed, signMessage } from './messages.ts';
import { verifyRoster } from './roster.ts';

const ID: AggregationId = { run: 'run-1', tree: 0, round: 0, attempt: 0 };

const fails = (what: string, says: RegExp) => (error: unknown) =>
  error instanceof TrainingError && error.code === `training.${what}` && says.test(error.message);

function vectorsOf(run: SecureRun, length = 50): Map<string, Int32Array> {
  return new Map(
    [...run.members.keys()].map((id, m) => [
      id,
      Int32Array.from({ length }, (_, i) => Math.imul(i + 1, 0x9e3779b1) ^ (m << 7)),
    ]),
  );
}

function plainSum(vectors: ReadonlyMap<string, Int32Array>, group: readonly string[]): Int32Array {
  const sum = new Int32Array([...vectors.values()][0]?.length ?? 0);
  for (const id of group) for (const [i, v] of (vectors.get(id) as Int32Array).entries()) sum[i]! += v;
  return sum;
}

test('opens the sum of everyone when nobody drops out', async () => {
  const run = makeSecureRun(10);
  const vectors = vectorsOf(run, 300_000);
  const { sum, survivors } = await playRound(run, ID, vectors);
  assert.equal(survivors.length, 10);
  assert.deepEqual(sum, plainSum(vectors, survivors));
});

test('opens the sum of those who sent theirs, whoever drops out when, down to the threshold', async () => {
  const phases: readonly Phase[] = ['advert', 'shares', 'masked', 'agreement', 'reveal'];
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 4, max: 10 }),
      fc.array(fc.tuple(fc.nat(9), fc.constantFrom(...phases)), { maxLength: 5 }),
      async (n, lost) => {
        const run = makeSecureRun(n);
        const vectors = vectorsOf(run);
        const ids = [...run.members.keys()];
        const drops: Partial<Record<Phase, string[]>> = {};
        for (const [who, phase] of lost) {
          drops[phase] = [...(drops[phase] ?? []), ids[who % n] as string];
        }
        const gone = new Set(lost.map(([who]) => who % n));
        const play = playRound(run, ID, vectors, { drops });
        if (n - gone.size < run.roster.threshold) {
          await assert.rejects(play, fails('aggregation-below-threshold', /got/));
          return;
        }
        const early = new Set(
          (['advert', 'shares', 'masked'] as const).flatMap((phase) => drops[phase] ?? []),
        );
        const { sum, survivors } = await play;
        assert.deepEqual(
          survivors,
          ids.filter((id) => !early.has(id)),
        );
        assert.deepEqual(sum, plainSum(vectors, survivors));
      },
    ),
    { seed: 20261123, numRuns: 40 },
  );
});

test('what the coordinator receives of one member is uniform noise, whatever the data', async () => {
  const run = makeSecureRun(4);
  const zeros = new Map([...run.members.keys()].map((id) => [id, new Int32Array(1 << 18)]));
  const { masked } = await playRound(run, ID, zeros);
  for (const [id, vector] of masked) {
    const counts = new Float64Array(256);
    for (const byte of new Uint8Array(vector.buffer)) counts[byte]!++;
    const expected = (vector.length * 4) / 256;
    const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 255 degrees of freedom: mean 255, deviation 22.6; six deviations are one in 10^9.
    assert.ok(chi2 > 120 && chi2 < 391, `${id}: chi2 ${chi2}`);
  }
});

/** One change on the way a row: who is named, and by which code. */
const TAMPERED: readonly (readonly [
  string,
  Phase,
  (m: Signed<never>, v?: Int32Array) => void,
  string,
  RegExp,
])[] = [
  [
    'a signature',
    'advert',
    (m) => edit(m, { signature: 'AAAA' }),
    'aggregation-tampered',
    /w02: the signature/,
  ],
  [
    'a key',
    'advert',
    (m) => body(m, { masking: 'A'.repeat(43) }),
    'aggregation-tampered',
    /w02: the signature/,
  ],
  ['a sender', 'advert', (m) => edit(m, { from: 'w03' }), 'aggregation-replayed|aggregation-tampered', /w03/],
  [
    'a stranger',
    'advert',
    (m) => edit(m, { from: 'mallory' }),
    'aggregation-tampered',
    /mallory: the sender/,
  ],
  [
    'a round',
    'advert',
    (m) => edit(m, { id: { ...ID, round: 1 } }),
    'aggregation-tampered',
    /w02: the signature/,
  ],
  ['a field', 'shares', (m) => body(m, { extra: 1 }), 'aggregation-tampered', /w02: the body/],
  [
    'a commitment',
    'shares',
    (m) => body(m, { seed: `sha256:${'0'.repeat(64)}` }),
    'aggregation-tampered',
    /w02/,
  ],
  ['a vector', 'masked', (_, v) => v?.fill(1, 0, 1), 'aggregation-tampered', /w02: the vector/],
  ['a length', 'masked', (m) => body(m, { length: 7 }), 'aggregation-tampered', /w02/],
  ['a group', 'agreement', (m) => body(m, { survivors: ['w00'] }), 'aggregation-tampered', /w02/],
  ['a revealed share', 'reveal', (m) => body(m, { seeds: {} }), 'aggregation-tampered', /w02/],
];

for (const [what, phase, change, code, says] of TAMPERED) {
  test(`names the sender when ${what} of phase ${phase} is changed on the way`, async () => {
    const run = makeSecureRun(5);
    const onWay: RoundScript['onWay'] = (message, vector) => {
      if (message.phase === phase && message.from === 'w02') change(message as Signed<never>, vector);
    };
    await assert.rejects(playRound(run, ID, vectorsOf(run), { onWay }), (error) =>
      code.split('|').some((one) => fails(one, says)(error)),
    );
  });
}

test('names a member that signs a wrong share', async () => {
  const run = makeSecureRun(5);
  const wrong = Buffer.alloc(32, 7).toString('base64');
  const cheat = async (message: Signed<'reveal'>) => {
    const seeds = { ...message.body.seeds, w00: wrong };
    const { signature: _, ...content } = message;
    const signer = run.signers.get('w02') as NonNullable<ReturnType<typeof run.signers.get>>;
    return await signMessage<'reveal'>(run.roster, { ...content, body: { ...message.body, seeds } }, signer);
  };
  const member = run.members.get('w02') as { reveal: (...a: never[]) => Promise<Signed<'reveal'>> };
  const honest = member.reveal.bind(member);
  member.reveal = async (...args) => cheat(await honest(...args));
  await assert.rejects(
    playRound(run, ID, vectorsOf(run)),
    fails('aggregation-tampered', /w02: the share of w00 is not the one it was given/),
  );
});

test('names a member that signs a message without an id', async () => {
  const run = makeSecureRun(5);
  const signer = run.signers.get('w02') as NonNullable<ReturnType<typeof run.signers.get>>;
  const member = run.members.get('w02') as { advertise: (id: AggregationId) => Promise<Signed<'advert'>> };
  const honest = member.advertise.bind(member);
  member.advertise = async (id) => {
    const { signature: _, ...content } = await honest(id);
    return await signMessage<'advert'>(run.roster, { ...content, id: null as never }, signer);
  };
  const play = playRound(run, ID, vectorsOf(run));
  await assert.rejects(play, fails('aggregation-tampered', /w02: the id is malformed/));
});

test('members notice that the coordinator relays different adverts, vectors or groups', async () => {
  const cases: readonly (readonly [Phase, string])[] = [
    ['advert', 'aggregation-equivocation'],
    ['shares', 'aggregation-equivocation'],
    ['masked', 'aggregation-equivocation'],
  ];
  for (const [phase, code] of cases) {
    const run = makeSecureRun(7, { threshold: 5 });
    const relay: RoundScript['relay'] = (messages, to) =>
      to === 'w01' && messages[0]?.phase === phase ? messages.filter(({ from }) => from !== 'w06') : messages;
    await assert.rejects(playRound(run, ID, vectorsOf(run), { relay }), fails(code, /w0/), phase);
  }
});

test('a relayed message that was changed is refused by the member', async () => {
  for (const phase of ['advert', 'shares', 'masked', 'agreement'] as const) {
    const run = makeSecureRun(5);
    const relay: RoundScript['relay'] = (messages, to) => {
      const message = messages.find(({ from }) => from === 'w03');
      if (to === 'w01' && message?.phase === phase) edit(message as Signed<never>, { signature: 'AAAA' });
      return messages;
    };
    await assert.rejects(
      playRound(run, ID, vectorsOf(run), { relay }),
      fails('aggregation-tampered', new RegExp(`${phase} of w03`)),
      phase,
    );
  }
});

test('a member answers each id once, and never an older one', async () => {
  const run = makeSecureRun(4);
  const vectors = vectorsOf(run);
  await playRound(run, { ...ID, round: 1 }, vectors);
  for (const id of [{ ...ID, round: 1 }, ID, { ...ID, round: 1, run: 'run-2' }]) {
    await assert.rejects(playRound(run, id, vectors), fails('aggregation-replayed', /w00/));
  }
  await playRound(run, { ...ID, round: 1, attempt: 1 }, vectors);
  const member = run.members.get('w00');
  await member?.advertise({ ...ID, tree: 1 });
  await assert.rejects(
    member!.reveal({ ...ID, tree: 1 }, []),
    fails('aggregation-replayed', /asked after advert/),
  );
});

test('two sums of one tree that would show one member are not both opened', async () => {
  const run = makeSecureRun(10, { minGroup: 3 });
  const vectors = vectorsOf(run);
  const first = await playRound(run, ID, vectors);
  const again = playRound(run, { ...ID, attempt: 1 }, vectors, { drops: { masked: ['w04'] } });
  await assert.rejects(again, fails('aggregation-two-answers', /1 members are between/));
  // Nor under another round of the tree, where the parent's sum less the children's would show the same.
  const child = playRound(run, { ...ID, round: 1 }, vectors, { drops: { shares: ['w04', 'w05'] } });
  await assert.rejects(child, fails('aggregation-two-answers', /2 members are between/));
  // The same group may be asked again, and one that differs by three.
  const same = await playRound(run, { ...ID, round: 2 }, vectors);
  assert.deepEqual(same.sum, first.sum);
  const apart = await playRound(run, { ...ID, round: 3 }, vectors, {
    drops: { masked: ['w00', 'w01', 'w02'] },
  });
  assert.equal(apart.survivors.length, 7);
  // Another tree has other gradients.
  await playRound(run, { ...ID, tree: 1 }, vectors, { drops: { masked: ['w04'] } });
});

test('no sums of one tree are opened that show a member when three or more of them are put together', async () => {
  const run = makeSecureRun(10, { minGroup: 3 });
  const vectors = vectorsOf(run);
  const without = (round: number, lost: readonly string[]) =>
    playRound(run, { ...ID, round }, vectors, { drops: { masked: lost } });
  await without(0, []);
  await without(1, ['w00', 'w01', 'w02']);
  // Three groups that miss three others each, added up, less twice the sum of all: the vector of w09.
  const crossing = without(2, ['w03', 'w04', 'w05']);
  await assert.rejects(crossing, fails('aggregation-two-answers', /neither is within the other/));
  // Groups within one another part their members into sets of three at least.
  await without(3, ['w00', 'w01', 'w02']);
  await without(4, []);
});

test('a roster counts only with the approver signature and rules that protect its members', () => {
  const { signed, approver, roster } = makeSecureRun(6);
  assert.deepEqual(verifyRoster(signed, approver), roster);
  const other = makeSecureRun(6);
  const refused = (change: object, says: RegExp) =>
    assert.throws(
      () => verifyRoster({ ...signed, roster: { ...roster, ...change } }, approver),
      fails('roster-refused', says),
    );
  assert.throws(() => verifyRoster(other.signed, approver), fails('roster-refused', /does not verify/));
  refused({ threshold: 2 }, /does not verify/);
  refused({ minGroup: 2 }, /minGroup/);
  refused({ members: roster.members.slice(0, 2) }, /members/);
  refused({ members: roster.members.with(0, { ...roster.members[0]!, id: 'constructor' }) }, /members/);
});

function edit(message: Signed<never>, change: object): void {
  Object.assign(message, change);
}

function body(message: Signed<never>, change: object): void {
  Object.assign((message as { body: object }).body, change);
}
