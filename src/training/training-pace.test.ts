import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../../test/support/synthetic-table.ts';
import type { Reading } from '../monitor/index.ts';
import type { TrainingConfig } from './config.ts';
import { trainDetector } from './train-detector.ts';
import { trainModel } from './train-model.ts';
import { TrainingPace, trainingLimitsSchema } from './training-pace.ts';

const CALM: Reading = {
  time: 0,
  processCpuCores: 1,
  machineCpuShare: 0.5,
  cpuCores: 2,
  rssBytes: 1e9,
  memoryAvailableBytes: 8e9,
  eventLoopDelayMs: 0,
  diskFreeBytes: 1e12,
  gpuBusyShare: Number.NaN,
  gpuMemoryFreeBytes: Number.NaN,
};

/** A machine whose readings are given one after the other, the last one for good, and a clock that sleep moves. */
function machine(limits: Record<string, number>, readings: readonly Partial<Reading>[]) {
  let now = 0;
  let looks = 0;
  const sleeps: number[] = [];
  const pace = new TrainingPace({
    limits: trainingLimitsSchema.parse(limits),
    clock: { monotonic: () => now },
    read: () => ({ ...CALM, ...readings[Math.min(looks++, readings.length - 1)] }),
    sleep: async (ms) => {
      sleeps.push(ms);
      now += ms;
    },
  });
  return {
    pace,
    sleeps,
    looks: () => looks,
    /** A round that takes so long, and the turn after it. */
    round: async (ms: number) => {
      now += ms;
      await pace.turn();
    },
  };
}

test('on a calm machine nothing waits, and rounds shorter than the interval are not even looked at', async () => {
  const { pace, sleeps, looks, round } = machine({}, [{}]);
  for (let i = 0; i < 100; i++) await round(10);
  assert.equal(looks(), 2);
  assert.deepEqual(sleeps, []);
  assert.equal(pace.counters.pauses, 0);
});

test('training rests until its share of the cores is kept', async () => {
  const { pace, sleeps, round } = machine({ maxCpuShare: 0.25 }, [{ processCpuCores: 2 }]);
  await round(1000);
  // Two cores for a second are 1 of 2 x 0.25 x 4 seconds.
  assert.deepEqual(sleeps, [3000]);
  assert.equal(pace.counters.byCause['cpu-share'], 3000);
});

test('training pauses while others need the cores or memory is short, and goes on when they do not', async () => {
  const busy = { machineCpuShare: 0.95, processCpuCores: 0.1 };
  const { pace, sleeps, round } = machine({ pauseAtCpuShare: 0.8 }, [
    busy,
    busy,
    { memoryAvailableBytes: 1e8 },
    {},
  ]);
  await round(1000);
  assert.deepEqual(sleeps, [500, 500, 500]);
  assert.deepEqual(pace.counters, {
    pauses: 3,
    pausedMs: 1500,
    byCause: { 'cpu-share': 0, 'cpu-pressure': 1000, 'memory-pressure': 500, 'memory-limit': 0 },
  });
});

test('what training itself uses is no pressure by others', async () => {
  const { sleeps, round } = machine({ pauseAtCpuShare: 0.5 }, [{ machineCpuShare: 1, processCpuCores: 1.9 }]);
  await round(1000);
  assert.deepEqual(sleeps, []);
});

test('a pause has an end: training slows and does not starve', async () => {
  const { sleeps, round, pace } = machine({ maxPauseMs: 1200 }, [{ memoryAvailableBytes: 1 }]);
  await round(1000);
  await round(1000);
  assert.deepEqual(sleeps, [500, 500, 200, 500, 500, 200]);
  assert.equal(pace.counters.pausedMs, 2400);
});

test('memory over the own limit that is not given back ends training by name, and given back it goes on', async () => {
  const over = { rssBytes: 3e9 };
  const limits = { maxMemoryBytes: 2e9, maxPauseMs: 1000 };
  const stubborn = machine(limits, [over]);
  await assert.rejects(stubborn.round(1000), { code: 'training.memory-exceeded' });
  assert.deepEqual(stubborn.sleeps, [500, 500]);
  const given = machine(limits, [over, { rssBytes: 1e9 }]);
  await given.round(1000);
  assert.deepEqual(given.sleeps, [500]);
});

test('what a system does not say is no pressure', async () => {
  const unknown = { processCpuCores: Number.NaN, machineCpuShare: Number.NaN, cpuCores: Number.NaN };
  const { sleeps, round } = machine({ maxCpuShare: 0.5, pauseAtCpuShare: 0.5, maxMemoryBytes: 1 }, [
    { ...unknown, rssBytes: Number.NaN, memoryAvailableBytes: Number.NaN },
  ]);
  await round(1000);
  assert.deepEqual(sleeps, []);
});

test('a training that is paused after every round gives the very model of one that is not', async () => {
  const run = async (onProgress?: () => Promise<void>) => {
    const { digest } = await trainModel({
      table: syntheticTable(1500, 3),
      schema: SYNTHETIC_SCHEMA,
      sourceKinds: ['table'],
      config: { method: 'trees', rounds: 12 },
      seed: 4,
      ...(onProgress && { onProgress }),
    });
    return digest;
  };
  const { round, pace } = machine({ maxPauseMs: 600 }, [{ memoryAvailableBytes: 1 }]);
  assert.equal(await run(() => round(1000)), await run());
  assert.equal(pace.counters.pauses, 24);
});

test('a hybrid takes turns within its forest and its autoencoder, and can be broken off there', async () => {
  const hybrid = {
    ...{ draws: 1, known: { rounds: 1, maxLeaves: 4 }, normals: 400, forestTrees: 12, forestSample: 32 },
    ...{ autoencoder: [4], autoencoderEpochs: 20 },
  };
  let turns = 0;
  const train = (last: number) =>
    trainDetector({
      ...{ table: syntheticTable(900, 5), schema: SYNTHETIC_SCHEMA, sourceKinds: ['table'], seed: 1 },
      config: { rounds: 1, maxLeaves: 4, hybrid } as unknown as Partial<TrainingConfig>,
      detectors: {
        turn: async () => {
          if (++turns > last) throw new Error('broken off');
        },
      },
    });
  await train(Number.POSITIVE_INFINITY);
  const all = turns;
  // One before each tree of the forest; the rest within the epochs.
  assert.ok(all > 12, String(all));
  for (const last of [5, all - 1]) {
    turns = 0;
    await assert.rejects(train(last), { message: 'broken off' });
  }
});
