/// <reference types="@webgpu/types" />
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ManualClock, SeededRandom, systemClock } from '../../src/base/index.ts';
import { type OpenedDevice, openDevice } from '../../src/features/index.ts';
import {
  AGREEMENT,
  DeviceModel,
  Engine,
  GpuScoring,
  GraphRuntime,
  type RowThreshold,
  RUNTIME_DEFAULTS,
  ScoringDevice,
} from '../../src/inference/index.ts';
import type { BoostedModel } from '../../src/models/index.ts';
import { denseGraph, graphModel, trees } from '../support/graph-model.ts';
import { randomHybrid } from '../support/random-hybrid.ts';
import { randomModel, randomRows } from '../support/random-model.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';
import { runCases } from './run-cases.ts';

/** Cases of scoring on whatever adapter the environment names; as `cases.ts`. */

const MIB = 1024 * 1024;
const COLUMNS = 3;
const KINDS = ['flood', 'scan', 'probe'];

type Opened = Extract<OpenedDevice, { device: GPUDevice }>;

async function opened(): Promise<Opened> {
  const found = await openDevice();
  assert.ok(found.device !== undefined, found.device === undefined ? found.reason : '');
  return found;
}

function buffers(rows: number) {
  return { probability: new Float32Array(rows), kind: new Int16Array(rows) };
}

function onCpu(model: BoostedModel, values: Float32Array) {
  const rows = values.length / COLUMNS;
  const out = buffers(rows);
  model.score(values, rows, out);
  return out;
}

/** With bits that shaders are free to get wrong: subnormal, both zeros, infinities, NaN with a payload and a sign. */
function awkwardRows(random: SeededRandom, rows: number): Float32Array {
  const values = randomRows(random, rows);
  const bits = new Uint32Array(values.buffer);
  const awkward = [0x80000000, 0, 1, 0x80000001, 0x7f800000, 0xff800000, 0xffc12345, 0x7f800001, 0x437fffff];
  for (let i = 0; i < values.length; i += 5) bits[i] = awkward[(i / 5) % awkward.length] as number;
  return values;
}

/** Not what these cases are about, and slow on a software adapter. */
const measure = async (): Promise<RowThreshold> => ({
  ...{ rows: 1, cpuMicrosecondsPerRow: 1, deviceMicrosecondsPerRow: 0, deviceFixedMs: 0 },
});

function scoring(open: () => Promise<OpenedDevice>, clock = new ManualClock()): GpuScoring {
  return new GpuScoring({ provider: 'webgpu', memoryBytes: 64 * MIB, threads: 1, clock, open, measure });
}

const cases: Readonly<Record<string, () => Promise<void>>> = {
  'gives the probabilities and kinds of trees to the bit, on awkward rows of every number': async () => {
    const device = new ScoringDevice(await opened(), 64 * MIB);
    const random = new SeededRandom(20_261);
    for (const [trees_, splits] of [
      [1, 1],
      [40, 25],
    ] as const) {
      const model = randomModel(random, trees_, splits, KINDS);
      const on = new DeviceModel(model, []);
      assert.deepEqual((await on.check(device)).refused, undefined);
      for (const rows of [1, 5, 255, 1_000]) {
        const values = awkwardRows(random, rows);
        const out = buffers(rows);
        await on.score(device, values, rows, out);
        assert.deepEqual(out, onCpu(model, values), `${rows} rows of ${trees_} trees`);
      }
      assert.equal(on.band, 0);
      assert.ok(on.counters.again <= 2);
    }
    device.close();
  },
  'gives the probabilities of a hybrid to 1e-5, and its decisions at every cut to the bit': async () => {
    const device = new ScoringDevice(await opened(), 64 * MIB);
    const random = new SeededRandom(7);
    const model = randomHybrid(random);
    const rows = 1_000;
    const values = awkwardRows(random, rows);
    const expected = onCpu(model, values);
    // Rows lie on these cuts exactly, where the least difference would show.
    const cuts = [...expected.probability.subarray(0, 40)];
    const on = new DeviceModel(model, cuts);
    const { margin, probability, refused } = await on.check(device);
    assert.equal(refused, undefined);
    assert.ok(margin < on.band && probability <= AGREEMENT);
    const out = buffers(rows);
    await on.score(device, values, rows, out);
    let differing = 0;
    for (let r = 0; r < rows; r++) {
      const [a, b] = [expected.probability[r] as number, out.probability[r] as number];
      assert.ok(Math.abs(a - b) <= AGREEMENT, `row ${r}: ${a} and ${b}`);
      if (a !== b) differing++;
      for (const cut of cuts) assert.equal(b >= cut, a >= cut, `row ${r}: ${a} and ${b} at ${cut}`);
    }
    assert.ok(differing > 0, 'float32 sums do differ');
    assert.ok(on.counters.again >= 40 && on.counters.again < rows / 2, `${on.counters.again} rows again`);
    assert.deepEqual(out.kind, expected.kind);
    device.close();
  },
  'keeps the tables of several models within the budget, and refuses one that cannot fit': async () => {
    const budget = MIB;
    const device = new ScoringDevice(await opened(), budget);
    const random = new SeededRandom(9);
    const models = Array.from({ length: 4 }, () => randomModel(random, 30, 300));
    const all = models.map((model) => new DeviceModel(model, []));
    const values = randomRows(random, 300);
    for (const i of [0, 1, 2, 3, 0, 3, 1]) {
      const out = buffers(300);
      await all[i]?.score(device, values, 300, out);
      assert.deepEqual(out, onCpu(models[i] as BoostedModel, values));
      await device.inTurn(async () => {});
      assert.ok(device.bytes <= budget, `${device.bytes} bytes`);
    }
    assert.ok(device.evicted > 0);
    const before = device.bytes;
    all[1]?.forget(device);
    assert.ok(device.bytes < before);
    assert.match(
      new DeviceModel(randomModel(random, 80, 900), []).misfit(device) ?? '',
      /no room for rows in a budget/,
    );
    device.close();
  },
  'answers on the CPU when the device is lost, and tries again after a pause that doubles': async () => {
    const clock = new ManualClock();
    const devices: GPUDevice[] = [];
    const gpu = scoring(async () => {
      const found = await opened();
      devices.push(found.device);
      return found;
    }, clock);
    const random = new SeededRandom(3);
    const model = randomModel(random, 10, 10);
    const scorer = await gpu.add('m@1', model, []);
    const values = randomRows(random, 300);
    assert.ok(scorer !== undefined);
    assert.ok(scorer.takes(300));
    const state = () => gpu.report.state;
    assert.equal(await scorer.score(values, 300, buffers(300)), true);
    for (const pause of [1_000, 2_000]) {
      devices.at(-1)?.destroy();
      assert.equal(await scorer.score(values, 300, buffers(300)), false);
      assert.equal(state(), 'lost');
      clock.advance(pause - 1);
      assert.equal(scorer.takes(300), false);
      await setImmediate();
      assert.equal(state(), 'lost');
      clock.advance(1);
      assert.equal(scorer.takes(300), false, 'it opens beside the requests');
      while (state() !== 'in-use' || !scorer.takes(300)) await setImmediate();
      const out = buffers(300);
      assert.equal(await scorer.score(values, 300, out), true);
      assert.deepEqual(out, onCpu(model, values));
    }
    const { losses, fallbacks, rows } = gpu.report;
    assert.deepEqual({ losses, fallbacks, opened: devices.length }, { losses: 2, fallbacks: 2, opened: 3 });
    assert.ok(rows >= 900);
    gpu.close();
  },
  'is not used again once it has given another answer than the CPU': async () => {
    let isBroken = false;
    const gpu = scoring(async () => {
      const found = await opened();
      return { ...found, device: miswriting(found.device, () => isBroken) };
    });
    const random = new SeededRandom(3);
    const model = randomModel(random, 40, 20);
    const scorer = await gpu.add('m@1', model, []);
    const values = randomRows(random, 300);
    assert.equal(await scorer?.score(values, 300, buffers(300)), true);
    isBroken = true;
    let batches = 0;
    while (gpu.report.state === 'in-use' && batches < 50) {
      batches++;
      await scorer?.score(values, 300, buffers(300));
    }
    assert.equal(gpu.report.state, 'wrong');
    assert.match(gpu.report.reason ?? '', /the device gave .*, the CPU/);
    assert.equal(scorer?.takes(300), false);
    assert.equal(await gpu.add('other@1', model, []), undefined);
    gpu.close();
  },
  'has a row threshold that is measured on the model itself': async () => {
    const open = { memoryBytes: 64 * MIB, threads: 1, clock: systemClock, open: opened };
    const gpu = new GpuScoring({ ...open, provider: 'webgpu' });
    await gpu.add('m@1', randomModel(new SeededRandom(3), 2, 2), []);
    const { threshold, fromRows } = gpu.report.models[0] ?? {};
    assert.equal(fromRows, 1, 'it was asked for');
    assert.ok(threshold !== undefined && threshold.rows >= 1 && threshold.deviceFixedMs >= 0);
    assert.ok(threshold.cpuMicrosecondsPerRow > 0 && threshold.deviceMicrosecondsPerRow >= 0);
    gpu.close();
  },
  'is refused for a model that it computes wrongly from the start': async () => {
    const gpu = scoring(async () => {
      const found = await opened();
      return { ...found, device: miswriting(found.device, () => true) };
    });
    const scorer = await gpu.add('m@1', randomModel(new SeededRandom(3), 40, 20), []);
    assert.equal(scorer?.takes(10_000), false);
    assert.match(gpu.report.models[0]?.reason ?? '', /differs from the CPU/);
    gpu.close();
  },
  'leaves arrays alone once the batch is withdrawn': async () => {
    const device = new ScoringDevice(await opened(), 64 * MIB);
    const random = new SeededRandom(5);
    const on = new DeviceModel(randomModel(random, 5, 5), []);
    const withdrawn = new AbortController();
    const out = buffers(100);
    const running = on.score(device, randomRows(random, 100), 100, out, withdrawn.signal);
    withdrawn.abort();
    await assert.rejects(running, { code: 'inference.cancelled' });
    assert.ok(out.probability.every((p) => p === 0));
    device.close();
  },
  'serves an engine whose answers are those of an engine without a device': async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gpu-engine-'));
    const house = await openHouse(folder, systemClock);
    const config = { workers: 0, batchSize: 256, confidenceThreshold: 0.6 };
    const devices: GPUDevice[] = [];
    const open = async () => {
      const found = await opened();
      devices.push(found.device);
      return found;
    };
    const engines = (['cpu', 'webgpu'] as const).map(
      (provider) =>
        new Engine({ clock: systemClock, config: { ...config, provider }, gpu: { measure, open } }),
    );
    try {
      await house.registry.publish(makeCandidate(), { principal: 'test' });
      const verified = await house.registry.verify('flow@1.0.0');
      const rows = 900;
      const values = randomRows(new SeededRandom(3), rows);
      const { schemaId } = verified;
      const batch = { schemaId, sourceKind: 'packets', rows, columns: COLUMNS, values, rejected: [] };
      const answers = [];
      for (const engine of engines) {
        await engine.load(verified);
        // How long it waited is its own.
        answers.push({ ...(await engine.scoreColumns(batch)), waitedMs: 0 });
      }
      assert.deepEqual(answers[1], answers[0]);
      const [without, withDevice] = engines.map(({ gpu }) => gpu);
      assert.equal(without?.state, 'unused');
      assert.ok((withDevice?.rows ?? 0) >= rows);
      assert.deepEqual(
        withDevice?.models.map(({ model, fromRows }) => ({ model, fromRows })),
        [{ model: 'flow@1.0.0', fromRows: 1 }],
      );
      devices[0]?.destroy();
      const after = await engines[1]?.scoreColumns(batch);
      assert.deepEqual({ ...after, waitedMs: 0 }, answers[0]);
      assert.equal(engines[1]?.gpu.state, 'lost');
      assert.equal(after?.degraded, undefined);
    } finally {
      await Promise.all(engines.map((engine) => engine.close()));
      await house.close();
      rmSync(folder, { recursive: true });
    }
  },
  'computes a foreign network by the webgpu provider of onnxruntime as its CPU does': async () => {
    const rows = 500;
    const { model } = trees(1);
    const graph = graphModel(model, { graph: denseGraph(new SeededRandom(11), COLUMNS, [64, 32]) });
    const values = new Float32Array(rows * COLUMNS).map((_, i) => Math.sin(i));
    const given: Float32Array[] = [];
    for (const provider of ['cpu', 'webgpu'] as const) {
      const runtime = await GraphRuntime.open(graph, {
        batchRows: rows,
        config: { ...RUNTIME_DEFAULTS, provider },
      });
      const out = buffers(rows);
      await runtime.score(values, rows, out);
      assert.equal(runtime.report.provider, provider, JSON.stringify(runtime.report.trials));
      given.push(out.probability);
      await runtime.close();
    }
    const [cpu = new Float32Array(0), webgpu = cpu] = given;
    let worst = 0;
    for (let r = 0; r < rows; r++) {
      worst = Math.max(worst, Math.abs((cpu[r] as number) - (webgpu[r] as number)));
    }
    assert.ok(worst <= 1e-5, `${worst}`);
    assert.ok(Math.max(...cpu) - Math.min(...cpu) > 0.1, 'the rows differ');
  },
  'leaves a foreign graph to the CPU where that is faster, and says so': async () => {
    const { model, rows } = trees(200);
    const runtime = await GraphRuntime.open(graphModel(model), { batchRows: 200 });
    await runtime.score(rows, 200, buffers(200));
    const { provider, trials } = runtime.report;
    const trial = trials.find((other) => other.provider === 'webgpu');
    assert.equal(provider, 'cpu');
    assert.equal(trial?.refused, 'slower than the CPU');
    assert.ok((trial.difference ?? 1) <= 1e-5);
    await runtime.close();
  },
};

/** A device that gets rows with other signs than the caller's while it is broken. */
function miswriting(device: GPUDevice, isBroken: () => boolean): GPUDevice {
  const queue = device.queue;
  const writeBuffer: GPUQueue['writeBuffer'] = (buffer, at, data) => {
    const wrong = isBroken() && data instanceof Float32Array ? data.map((x) => -x) : data;
    return queue.writeBuffer(buffer, at, wrong as GPUAllowSharedBufferSource);
  };
  const broken = { writeBuffer, submit: (commands: GPUCommandBuffer[]) => queue.submit(commands) };
  return new Proxy(device, {
    get(target, key) {
      if (key === 'queue') return broken;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

await runCases(cases);
