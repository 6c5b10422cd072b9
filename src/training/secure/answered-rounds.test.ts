import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSecureRun, playRound } from '../../../test/support/secure-run.ts';
import { sha256 } from '../../crypto/index.ts';
import { TrainingError } from '../errors.ts';
import {
  AnsweredRounds,
  type AnsweredState,
  COORDINATOR_ROUNDS,
  decodeAnswered,
  encodeAnswered,
} from './answered-rounds.ts';
import { AggregationMember } from './member.ts';

const id = (tree: number, round: number, attempt = 0) => ({ run: 'run-1', tree, round, attempt });

/** A member's memory and what of it is on disk. */
function kept() {
  let written: Uint8Array | undefined;
  const save = async (state: AnsweredState) => {
    written = encodeAnswered(state);
  };
  const start = () =>
    new AnsweredRounds({ save, ...(written !== undefined && { state: decodeAnswered(written) }) });
  return { start, written: () => written };
}

test('a member that was started again answers only coordinators that come after those it knows', async () => {
  const disk = kept();
  const before = disk.start();
  await before.begin(id(1, 0));
  await before.begin(id(1, 1));
  const after = disk.start();
  for (const old of [id(1, 0), id(1, 1), id(1, 2), id(7, 0), id(1, COORDINATOR_ROUNDS - 1)]) {
    assert.equal(after.isNew(old), false, JSON.stringify(old));
  }
  assert.equal(after.isNew(id(1, COORDINATOR_ROUNDS)), true);
});

test('a successor goes back to a tree that was begun, and its groups are still kept apart', async () => {
  const disk = kept();
  const before = disk.start();
  await before.begin(id(3, 0));
  await before.open(3, new Set(['a', 'b', 'c', 'd']));
  await before.begin(id(4, 0));
  for (const rounds of [before, disk.start()]) {
    assert.equal(rounds.isNew(id(3, 1)), false);
    assert.equal(rounds.isNew(id(3, COORDINATOR_ROUNDS)), true);
    assert.equal(rounds.distance(3, new Set(['a', 'b', 'c'])), 1);
    assert.equal(rounds.distance(3, new Set(['d', 'c', 'b', 'a'])), Number.POSITIVE_INFINITY);
    assert.equal(rounds.distance(4, new Set(['a'])), Number.POSITIVE_INFINITY);
  }
});

test('two answers that would show one member are refused across a restart, on the same tree', async () => {
  const run = makeSecureRun(6, { minGroup: 3 });
  const vectors = new Map([...run.members.keys()].map((member) => [member, Int32Array.of(1, 2, 3)]));
  const disks = new Map([...run.members.keys()].map((member) => [member, kept()]));
  const start = (): typeof run => ({
    ...run,
    members: new Map(
      [...run.signers].map(([self, sign]) => [
        self,
        new AggregationMember({ self, roster: run.roster, sign, answered: disks.get(self)!.start() }),
      ]),
    ),
  });
  await playRound(start(), id(1, 0), vectors);
  const fails = (code: string) => (error: unknown) =>
    error instanceof TrainingError && error.code === `training.aggregation-${code}`;
  await assert.rejects(playRound(start(), id(1, 0), vectors), fails('replayed'));
  const oneLess = { drops: { masked: ['w04'] } };
  await assert.rejects(playRound(start(), id(1, COORDINATOR_ROUNDS), vectors, oneLess), fails('two-answers'));
  const { sum } = await playRound(start(), id(1, 2 * COORDINATOR_ROUNDS), vectors);
  assert.deepEqual([...sum], [6, 12, 18]);
});

test('what could not be written down is not answered, then or later', async () => {
  let isFull = true;
  const saved: AnsweredState[] = [];
  const rounds = new AnsweredRounds({
    save: async (state) => {
      if (isFull) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      saved.push(state);
    },
  });
  await assert.rejects(rounds.begin(id(1, 0)), { code: 'ENOSPC' });
  await assert.rejects(rounds.open(1, new Set(['a', 'b'])), { code: 'ENOSPC' });
  await assert.rejects(rounds.holdTo(sha256('plan'), 0), { code: 'ENOSPC' });
  isFull = false;
  await rounds.begin(id(1, 1));
  await rounds.open(1, new Set(['a', 'b']));
  assert.equal(await rounds.holdTo(sha256('plan'), 0), true);
  assert.equal(saved.length, 3);
  assert.equal(await new AnsweredRounds({ state: saved[2]! }).holdTo(sha256('other plan'), 0), false);
  assert.equal(await new AnsweredRounds({ state: saved[2]! }).holdTo(sha256('plan'), 4), false);
});

test('a state that is not whole ends the member, and begins nothing anew', async () => {
  const disk = kept();
  await disk.start().begin(id(1, 0));
  const bytes = disk.written()!;
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeAnswered(bytes.subarray(0, length)), { code: 'training.answered-unreadable' });
  }
});
