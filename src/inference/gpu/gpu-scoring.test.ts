/// <reference types="@webgpu/types" />
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { randomModel } from '../../../test/support/random-model.ts';
import { ManualClock, SeededRandom } from '../../base/index.ts';
import type { OpenedDevice } from '../../features/index.ts';
import type { ExecutionProvider } from '../runtime/config.ts';
import { crossingRows } from './crossover.ts';
import { type GpuChange, GpuScoring } from './gpu-scoring.ts';

const MIB = 1024 * 1024;
const model = randomModel(new SeededRandom(1));

function scoring(provider: ExecutionProvider, opened: OpenedDevice) {
  const changes: GpuChange[] = [];
  const asked = { times: 0 };
  const gpu = new GpuScoring({
    ...{ provider, memoryBytes: 64 * MIB, threads: 1, clock: new ManualClock() },
    note: (change) => changes.push(change),
    open: async () => {
      asked.times++;
      return opened;
    },
  });
  return { gpu, changes, asked };
}

suite('scoring on a GPU', () => {
  test('is not tried where the CPU is asked for, or a provider of foreign graphs', async () => {
    for (const provider of ['cpu', 'cuda', 'coreml'] as const) {
      const { gpu, asked } = scoring(provider, { reason: 'not asked' });
      assert.equal(await gpu.add('m', model, []), undefined);
      assert.equal(gpu.report.state, 'unused');
      assert.match(gpu.report.reason ?? '', new RegExp(provider));
      assert.equal(asked.times, 0);
    }
  });

  test('says why there is no device, once, and asks for one once', async () => {
    const { gpu, asked, changes } = scoring('webgpu', { reason: 'no adapter' });
    for (const name of ['a', 'b']) assert.equal(await gpu.add(name, model, []), undefined);
    assert.deepEqual(changes, [{ state: 'unused', adapter: undefined, reason: 'no adapter' }]);
    assert.equal(asked.times, 1);
  });

  test('leaves a software adapter alone unless it is asked for, and names it', async () => {
    let destroyed = 0;
    const device = { destroy: () => destroyed++ } as unknown as GPUDevice;
    const { gpu } = scoring('auto', { device, adapter: 'SoftPipe', isSoftware: true });
    assert.equal(await gpu.add('m', model, []), undefined);
    assert.equal(gpu.report.reason, 'SoftPipe is a software adapter');
    assert.equal(destroyed, 1);
  });

  test('begins where the lines of both cross, and never where the device gains nothing', () => {
    assert.equal(crossingRows(0.01, { fixedMs: 1, perRowMs: 0.005 }), 200);
    assert.equal(crossingRows(0.01, { fixedMs: 0, perRowMs: 0.001 }), 1);
    for (const perRowMs of [0.01, 0.02])
      assert.equal(crossingRows(0.01, { fixedMs: 0, perRowMs }), Number.POSITIVE_INFINITY);
  });
});
