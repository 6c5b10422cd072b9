import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSecureRun } from '../../../test/support/secure-run.ts';
import type { Digest } from '../../base/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import { layOut } from '../binning.ts';
import { extendHistory, type MemberOperation } from './member-request.ts';
import { encodeMessage } from './message.ts';
import { planColumns, type RunPlan } from './run-plan.ts';
import { SecureMember } from './secure-member.ts';

const BINNING = layOut([{ column: 0, bins: 3, cuts: Float32Array.of(0) }]);
const PLAN: RunPlan = {
  ...{ v: 1, run: 'run-1', columns: planColumns(BINNING), outputs: 1, bias: [0], maxWeight: 1 },
  ...{ gradientLevels: 15, maxLeaves: 8, rowFraction: 1, seed: 1, rows: 16, heldRows: 0, minCellRows: 1 },
};
const PLAN_DIGEST = sha256(canonicalJson(PLAN));
const OPEN: readonly MemberOperation[] = [
  { kind: 'begin', bias: [0], trees: [] },
  { kind: 'start-round', round: 0 },
  { kind: 'open-tree', output: 0, features: [0] },
];
const LEFT = Buffer.from(Uint8Array.of(2, ...new Uint8Array(31))).toString('base64');
const DIVIDE: MemberOperation = {
  kind: 'divide',
  splits: [{ leaf: 0, right: 1, feature: 0, left: LEFT }],
};

/** A member of four rows, and a coordinator that says to it what it wants. */
async function openMember() {
  const run = makeSecureRun(4);
  const bins = Uint8Array.of(1, 1, 2, 2);
  const member = new SecureMember({
    ...{ self: 'w00', roster: run.roster, sign: run.signers.get('w00') as never, rows: 4, minCellRows: 1 },
    encode: () => ({ binned: { rows: 4, binning: BINNING, bins }, labels: Uint8Array.of(0, 0, 1, 1) }),
  });
  await member.handle(encodeMessage({ kind: 'open', plan: PLAN, firstRow: 0 }));
  let round = 0;
  const ask = async (tree: number, before: Digest, operations: readonly MemberOperation[]) => {
    const question = extendHistory(PLAN_DIGEST, before, operations);
    const id = { run: 'run-1', tree, round: round++, attempt: 0, question };
    await member.handle(encodeMessage({ kind: 'advert', id, before, operations }));
    return question;
  };
  return { member, ask };
}

const REFUSED = { code: 'training.message-refused' };

test('one question is asked under one tree only, so that its groups are kept apart', async () => {
  const { member, ask } = await openMember();
  const opened = await ask(1, PLAN_DIGEST, OPEN);
  await assert.rejects(ask(2, PLAN_DIGEST, OPEN), REFUSED, 'the same again, called another tree');
  await assert.rejects(ask(2, opened, OPEN.slice(2)), REFUSED, 'the root again, without a tree between');
  await assert.rejects(ask(1, PLAN_DIGEST, [{ kind: 'labels' }]), REFUSED, 'labels as those of a tree');
  await member.close();
});

test('the count of trees goes on from what a coordinator begins with', async () => {
  const { member, ask } = await openMember();
  const leaf = { output: 0, child: [0], feature: [-1], left: [''], value: [0.5] };
  const begin: MemberOperation = { kind: 'begin', bias: [0], trees: [leaf] };
  const opened = await ask(2, PLAN_DIGEST, [begin, ...OPEN.slice(1)]);
  const divided = await ask(2, opened, [{ kind: 'close-tree', splits: [] }]);
  await ask(3, divided, [{ kind: 'add-leaves', values: [0.1] }, ...OPEN.slice(2)]);
  await member.close();
});

test('labels begin a history anew, and nothing goes on from a tree that others may not have', async () => {
  const { member, ask } = await openMember();
  await ask(0, PLAN_DIGEST, [{ kind: 'labels' }]);
  const opened = await ask(1, PLAN_DIGEST, OPEN);
  // Members with different trees open would call this by one name.
  await assert.rejects(ask(1, sha256('any'), [{ kind: 'labels' }, DIVIDE]), REFUSED);
  await ask(1, opened, [DIVIDE]);
  assert.equal(
    extendHistory(PLAN_DIGEST, sha256('any'), [{ kind: 'labels' }]),
    extendHistory(PLAN_DIGEST, PLAN_DIGEST, [{ kind: 'labels' }]),
  );
  const other = await openMember();
  await other.ask(1, PLAN_DIGEST, OPEN);
  const labels: readonly MemberOperation[] = [{ kind: 'labels' }];
  await assert.rejects(other.ask(0, sha256('any'), labels), { code: 'training.aggregation-replayed' });
  const after = extendHistory(PLAN_DIGEST, PLAN_DIGEST, labels);
  await assert.rejects(other.ask(1, after, [DIVIDE]), REFUSED, 'the tree is gone');
  await member.close();
  await other.member.close();
});

test('what failed half-way is not answered under the name of all that was asked', async () => {
  const { member, ask } = await openMember();
  const opened = await ask(1, PLAN_DIGEST, OPEN);
  const again = { ...DIVIDE, splits: [{ leaf: 0, right: 5, feature: 0, left: LEFT }] } as MemberOperation;
  const both: readonly MemberOperation[] = [{ kind: 'loss' }, again];
  await assert.rejects(ask(1, opened, both), REFUSED);
  await assert.rejects(ask(1, opened, both), REFUSED, 'the first answer, called the second');
  await assert.rejects(ask(1, opened, [DIVIDE]), REFUSED, 'it says that it lost its place');
  const anew = await ask(1, PLAN_DIGEST, OPEN);
  await ask(1, anew, [DIVIDE]);
  await member.close();
});

test('gradients of a new round are not summed over the leaves of the tree before', async () => {
  const { member, ask } = await openMember();
  const opened = await ask(1, PLAN_DIGEST, OPEN);
  const closed = await ask(1, opened, [{ kind: 'close-tree', splits: [] }]);
  const next: readonly MemberOperation[] = [
    { kind: 'add-leaves', values: [0.1] },
    { kind: 'start-round', round: 1 },
    { kind: 'close-tree', splits: [] },
  ];
  await assert.rejects(ask(1, closed, next), REFUSED);
  await member.close();
});
