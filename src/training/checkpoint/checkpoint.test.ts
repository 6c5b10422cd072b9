import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  SYNTHETIC_SCHEMA,
  type SyntheticTable,
  syntheticTable,
} from '../../../test/support/synthetic-table.ts';
import type { TrainingConfig } from '../config.ts';
import { trainDetector } from '../train-detector.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { decodeState, encodeState, type StepArrays } from './training-state.ts';
import { TrainingSteps } from './training-steps.ts';

/** Keeps every state that was saved. */
class Shelf implements CheckpointStore {
  readonly states: Uint8Array[] = [];
  from: Uint8Array | undefined;
  fails = false;

  async load(): Promise<Uint8Array | undefined> {
    return this.from?.slice();
  }

  async save(state: Uint8Array): Promise<void> {
    if (this.fails) throw new Error('no space left on device');
    this.states.push(state.slice());
  }
}

const HYBRID = {
  known: { rounds: 4, maxLeaves: 6 },
  draws: 2,
  normals: 200,
  attacksPerType: 20,
  forestTrees: 10,
  forestSample: 64,
  autoencoder: [6, 3, 6],
  autoencoderEpochs: 2,
};

async function train(shelf: Shelf, config: Record<string, unknown>, threads = 1) {
  const steps = await TrainingSteps.open({ store: shelf, everyRounds: 1, maxShare: 1, now: () => 0 });
  const trained = await trainDetector({
    table: threeKinds(syntheticTable(1500, 7)),
    schema: SYNTHETIC_SCHEMA,
    sourceKinds: ['table'],
    config: config as Partial<TrainingConfig>,
    seed: 3,
    threads,
    steps,
  });
  return { digest: trained.digest, counts: steps.counts };
}

/** Floods of either sign are kinds of their own, so that kinds are a softmax of three. */
function threeKinds(table: SyntheticTable): SyntheticTable {
  const typeIndex = table.typeIndex.map((type, r) =>
    type === 1 && (table.values[r * table.columns + 1] as number) < 0 ? 3 : type,
  );
  return { ...table, typeIndex, typeNames: [...table.typeNames, 'low flood'] };
}

const RUNS: Readonly<Record<string, Record<string, unknown>>> = {
  'trees that stop early, on drawn rows and columns': {
    ...{ method: 'trees', rounds: 40, patience: 3, learningRate: 0.5, learningRateDecay: 0.9, maxLeaves: 8 },
  },
  'trees of monotone columns': {
    ...{ method: 'trees', rounds: 6, maxLeaves: 8, patience: 0, monotone: { a: 1 } },
  },
  'trees and the stage that names kinds': {
    ...{ method: 'trees', rounds: 4, maxLeaves: 6, patience: 0, kinds: true, kindRounds: 4, minKindRows: 5 },
  },
  'a hybrid with kinds': {
    ...{ rounds: 4, maxLeaves: 6, kinds: true, kindRounds: 3, minKindRows: 5, hybrid: HYBRID },
  },
};

for (const [name, config] of Object.entries(RUNS)) {
  test(`resumed after every step gives the very model: ${name}`, async () => {
    const whole = new Shelf();
    const { digest } = await train(whole, config);
    assert.ok(whole.states.length > 5, `${whole.states.length} states`);
    for (const [i, state] of whole.states.entries()) {
      const shelf = new Shelf();
      shelf.from = state;
      const resumed = await train(shelf, config, 1 + (i % 2));
      assert.equal(resumed.digest, digest, `state ${i}`);
      assert.ok(resumed.counts.resumed > 0);
      // What follows is saved as the run without a break saved it.
      assert.deepEqual(shelf.states, whole.states.slice(i + 1), `state ${i}`);
    }
  });
}

test('a run without checkpoints, or whose checkpoints fail, gives the same model', async () => {
  const config = RUNS['a hybrid with kinds'] as Record<string, unknown>;
  const { digest } = await train(new Shelf(), config);
  const failing = new Shelf();
  failing.fails = true;
  const failed = await train(failing, config);
  assert.equal(failed.digest, digest);
  assert.ok(failed.counts.failed > 5);
  assert.equal(failed.counts.saved, 0);
});

test('checkpoints that take long are made less often', async () => {
  let time = 0;
  const shelf = new Shelf();
  const slow: CheckpointStore = {
    load: async () => undefined,
    save: async (state) => {
      time += 100;
      await shelf.save(state);
    },
  };
  const steps = await TrainingSteps.open({ store: slow, everyRounds: 1, maxShare: 0.1, now: () => time });
  const boosting = steps.boosting('trees');
  for (let round = 1; round <= 40; round++) {
    time += 50;
    await boosting.onRound?.({ trees: [], validationLoss: new Array(round).fill(0) });
  }
  // 40 rounds of 50 ms, and 100 ms for a checkpoint: one in 900 ms of work.
  assert.equal(shelf.states.length, 3);
});

test('a state is read as it was written, and no other version, nor a part of one', () => {
  const steps = new Map<string, StepArrays>([
    ['a', { x: Float64Array.of(0.1, Number.NaN, -0), y: Uint8Array.of(1, 2, 3) }],
    ['b/ä', { z: Uint16Array.of(7), empty: new Float32Array(0), w: Uint32Array.of(2 ** 32 - 1) }],
  ]);
  const state = encodeState(steps);
  assert.deepEqual(decodeState(state), steps);
  const other = state.slice();
  other[27] = 0x32;
  for (const bytes of [
    other,
    state.subarray(0, 10),
    state.subarray(0, state.length - 8),
    new Uint8Array(0),
  ]) {
    assert.throws(() => decodeState(bytes), { code: 'training.checkpoint-unreadable' });
  }
});
