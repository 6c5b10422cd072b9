import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { MemoryBus } from '../../src/bus/index.ts';
import { type Booster, boost } from '../../src/training/boosting.ts';
import { replayBooster } from '../../src/training/distributed/replay-training.ts';
import {
  SecureTraining,
  type SecureTrainingOptions,
} from '../../src/training/distributed/secure-training.ts';
import { type TrainingConfig, TrainingError, trainDetector } from '../../src/training/index.ts';
import { type OnRequest, type SecureHouse, startMembers } from '../support/secure-house.ts';
import { makeSecureRun } from '../support/secure-run.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';

const CONFIG: Partial<TrainingConfig> = { method: 'trees', rounds: 4, maxLeaves: 12, patience: 3 };
const TABLE = syntheticTable(3000, 5);

const train = (booster: Booster) =>
  trainDetector({
    ...{ table: TABLE, schema: SYNTHETIC_SCHEMA, sourceKinds: ['table'], config: CONFIG, seed: 4 },
    booster,
  });

const local = await train(boost);

const fails =
  (code: string, says = /./) =>
  (error: unknown) =>
    error instanceof TrainingError && error.code === `training.${code}` && says.test(error.message);

interface Script {
  readonly onRequest?: OnRequest;
  readonly onAnswer?: (id: string, answer: Uint8Array, count: number) => Uint8Array;
  readonly options?: Partial<SecureTrainingOptions>;
}

/** Trains on rows that lie with `count` members. */
async function trainSecurely(count: number, { onRequest, onAnswer, options }: Script = {}) {
  const bus = new MemoryBus();
  const run = makeSecureRun(count);
  let house: SecureHouse | undefined;
  const secure = new SecureTraining({
    bus,
    roster: run.roster,
    minCellRows: 1,
    answerMs: 300,
    leaseMs: 5_000,
    ...options,
  });
  try {
    const trained = await train(async (bins, boosting) => {
      house ??= await startMembers(bus, run, bins, {
        ...(onRequest && { onRequest }),
        ...(onAnswer && { onAnswer }),
      });
      return await secure.booster(bins, boosting);
    });
    return { trained, record: secure.record!, rows: house!.rows };
  } finally {
    await house?.close();
  }
}

for (const count of [4, 7, 10]) {
  test(`${count} members who show their rows to nobody give the model of one process`, async () => {
    const { trained, record } = await trainSecurely(count);
    assert.equal(trained.digest, local.digest);
    assert.ok(record.participants.every(({ members, sums }) => members.length === count && sums <= 8));
    assert.equal(record.participants.length, 1 + trained.rounds);
  });
}

test('where all are waited for, a member that stays away ends the run by name', async () => {
  const onRequest: OnRequest = async (id, count, house) => {
    if (id === 'w02' && count === 30) await house.drop(id);
  };
  await assert.rejects(trainSecurely(5, { onRequest }), fails('member-missing', /w02/));
});

for (const share of [0.1, 0.3]) {
  test(`with ${share * 100} % lost at random the survivors go on, and the record replays to the same model`, async () => {
    for (let seed = 0; seed < 4; seed++) {
      const random = new SeededRandom(seed);
      const lost = new Map(
        Array.from({ length: share * 10 }, (_, i) => [
          `w${String(i * 3).padStart(2, '0')}`,
          random.integer(8, 110),
        ]),
      );
      const onRequest: OnRequest = async (id, count, house) => {
        if (count === lost.get(id)) await house.drop(id);
      };
      const { trained, record, rows } = await trainSecurely(10, {
        onRequest,
        options: { policy: 'survivors' },
      });
      assert.ok(record.participants.some(({ members }) => members.length < 10));
      const again = await train(replayBooster(rows, record));
      assert.equal(again.digest, trained.digest);
    }
  });
}

test('below the threshold nothing is revealed, and the run stops by name', async () => {
  const onRequest: OnRequest = async (id, count, house) => {
    if (['w00', 'w01', 'w02', 'w03'].includes(id) && count > 40) await house.drop(id);
  };
  await assert.rejects(
    trainSecurely(10, { onRequest, options: { policy: 'survivors' } }),
    fails('aggregation-below-threshold', /nothing was revealed/),
  );
});
