import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { BusError, MemoryBus } from '../../src/bus/index.ts';
import { type Booster, boost } from '../../src/training/boosting.ts';
import { encodeMessage } from '../../src/training/distributed/message.ts';
import { replayBooster } from '../../src/training/distributed/replay-training.ts';
import {
  SecureTraining,
  type SecureTrainingOptions,
} from '../../src/training/distributed/secure-training.ts';
import { type TrainingConfig, TrainingError, trainDetector } from '../../src/training/index.ts';
import { mortalBus } from '../support/mortal-bus.ts';
import { type OnRequest, type SecureHouse, startMembers } from '../support/secure-house.ts';
import { makeSecureRun } from '../support/secure-run.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';

const CONFIG: Partial<TrainingConfig> = {
  method: 'trees',
  rounds: 3,
  maxLeaves: 8,
  treeRounds: 4,
  patience: 3,
};
const TABLE = syntheticTable(2000, 5);

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
    if (id === 'w02' && count === 15) await house.drop(id);
  };
  await assert.rejects(trainSecurely(5, { onRequest }), fails('member-missing', /w02/));
});

for (const share of [0.1, 0.3]) {
  test(`with ${share * 100} % lost at random the survivors go on, and the record replays to the same model`, async () => {
    for (let seed = 0; seed < 2; seed++) {
      const random = new SeededRandom(seed);
      const lost = new Map(
        Array.from({ length: share * 10 }, (_, i) => [
          `w${String(i * 3).padStart(2, '0')}`,
          random.integer(8, 40),
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

test('a coordinator that dies anywhere is followed by one that ends with the same model', async () => {
  const bus = new MemoryBus();
  const run = makeSecureRun(4);
  let house: SecureHouse | undefined;
  const attempt = async (after: number) => {
    const dying = mortalBus(bus, after);
    const secure = new SecureTraining({
      ...{
        bus: dying.bus,
        roster: run.roster,
        minCellRows: 1,
        answerMs: 5_000,
        leaseMs: 300,
        waitMs: 20_000,
      },
    });
    const trained = await train(async (bins, boosting) => {
      house ??= await startMembers(bus, run, bins);
      return await secure.booster(bins, boosting);
    });
    return { trained, calls: dying.calls() };
  };
  let deaths = 0;
  // Each coordinator gets a little further than the one before, and dies in another phase.
  for (let after = 9; ; after += 13) {
    try {
      const { trained } = await attempt(after);
      assert.equal(trained.digest, local.digest);
      break;
    } catch (error) {
      if (!(error instanceof BusError || fails('lease-lost')(error))) throw error;
      deaths++;
    }
  }
  assert.ok(deaths > 3, `${deaths} deaths`);
  await house?.close();
});

test('cells that are joined tell less, and the record still replays to the same model', async () => {
  const { trained, record, rows } = await trainSecurely(4, { options: { minCellRows: 5 } });
  assert.notEqual(trained.digest, local.digest);
  assert.equal((await train(replayBooster(rows, record))).digest, trained.digest);
  assert.ok(trained.validation.auc.value > local.validation.auc.value - 0.1);
});

test('a sum beyond what the rows of its members allow ends the run by name', async () => {
  const said = encodeMessage({ rows: 5 });
  const onAnswer = (id: string, answer: Uint8Array, count: number) =>
    id === 'w00' && count === 1 ? said : answer;
  await assert.rejects(
    trainSecurely(4, { onAnswer }),
    fails('aggregation-out-of-range', /the weight of all classes/),
  );
});

test('noise takes cells as they are where nothing is said, and refuses others by what to do', async () => {
  const options = { bus: new MemoryBus(), roster: makeSecureRun(4).roster };
  const noisy = { ...options, privacy: { noise: 4, delta: 1e-5 }, waitMs: 0, answerMs: 1 };
  const told = fails('config-invalid', /minCellRows 5: leave it out or set it to 1/);
  await assert.rejects(train(new SecureTraining({ ...noisy, minCellRows: 5 }).booster), told);
  await assert.rejects(train(new SecureTraining(noisy).booster), fails('member-missing'));
});

test('a run with noise says that it cannot be repeated, and what it spent', async () => {
  const { record } = await trainSecurely(4, { options: { privacy: { noise: 4, delta: 1e-5 } } });
  assert.equal(record.reproducible, false);
  const { epsilon, rho, sums } = record.privacy!;
  assert.equal(
    sums,
    record.participants.reduce((sum, tree) => sum + tree.sums, 0),
  );
  assert.ok(Math.abs(rho - sums / 32) < 1e-12);
  assert.ok(Math.abs(epsilon - (rho + 2 * Math.sqrt(rho * Math.log(1e5)))) < 1e-9);
});

/** What somebody on the way could do to a run, and what it is called. */
const TAMPERED: readonly (readonly [string, (answers: readonly Uint8Array[]) => Uint8Array, string])[] = [
  [
    'a changed vector',
    ([answer]) => answer!.with(answer!.length - 1, answer!.at(-1)! ^ 1),
    'aggregation-tampered',
  ],
  ['a vector cut short', ([answer]) => answer!.subarray(0, answer!.length - 4), 'message-refused'],
  ['an answer of an earlier sum', ([, earlier]) => earlier!, 'aggregation-'],
  ['bytes that are no message', () => Uint8Array.of(255, 255, 255, 255), 'message-refused'],
];
for (const [what, change, code] of TAMPERED) {
  test(`${what} ends the run by name`, async () => {
    const answers: Uint8Array[] = [];
    const onAnswer = (id: string, answer: Uint8Array, count: number) => {
      if (id !== 'w01') return answer;
      answers.unshift(answer.slice());
      // Two requests open the run, five each make the sums of the labels and of the first root; then one a sum.
      const earlier = answers.slice(1, count - 12).find(({ length }) => length === answer.length);
      return count > 12 && earlier !== undefined ? change([answer.slice(), earlier]) : answer;
    };
    await assert.rejects(
      trainSecurely(4, { onAnswer }),
      (error) => error instanceof TrainingError && error.code.startsWith(`training.${code}`),
    );
  });
}

test('an answer that another member signed is laid to the one who gave it', async () => {
  const others = new Map<number, Uint8Array>();
  const onAnswer = (id: string, answer: Uint8Array, count: number) => {
    if (id === 'w00') others.set(count, answer.slice());
    return id === 'w01' && count > 6 ? (others.get(count) ?? answer) : answer;
  };
  await assert.rejects(trainSecurely(4, { onAnswer }), fails('aggregation-tampered', /of w01: it is signed/));
});

test('members who are asked different things open no sum', async () => {
  const bus = new MemoryBus();
  const run = makeSecureRun(4);
  let house: SecureHouse | undefined;
  const split = mortalBus(bus, Number.POSITIVE_INFINITY).bus;
  split.request = async (subject, data, options) => {
    const text = Buffer.from(data).toString('latin1');
    // One member is asked to cut elsewhere: what the others' sums lack would be its rows.
    const isCut = subject.endsWith('w03') && text.includes('"kind":"divide"');
    const changed = isCut ? text.replace(/"feature":\d/, '"feature":9') : text;
    return await bus.request(subject, new Uint8Array(Buffer.from(changed, 'latin1')), options);
  };
  const secure = new SecureTraining({
    bus: split,
    roster: run.roster,
    minCellRows: 1,
    answerMs: 300,
    leaseMs: 5_000,
  });
  const training = train(async (bins, boosting) => {
    house = await startMembers(bus, run, bins);
    return await secure.booster(bins, boosting);
  });
  await assert.rejects(training, fails('message-refused', /w03 refuses/));
  await house?.close();
});

test('below the threshold nothing is revealed, and the run stops by name', async () => {
  const onRequest: OnRequest = async (id, count, house) => {
    if (['w00', 'w01', 'w02', 'w03'].includes(id) && count > 25) await house.drop(id);
  };
  await assert.rejects(
    trainSecurely(10, { onRequest, options: { policy: 'survivors' } }),
    fails('aggregation-below-threshold', /nothing was revealed/),
  );
});
