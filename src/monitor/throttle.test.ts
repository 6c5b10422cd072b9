import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Reading } from './reading.ts';
import { readMonitorConfig, Throttle } from './throttle.ts';

const CALM: Reading = {
  time: 0,
  processCpuCores: 0,
  machineCpuShare: 0.1,
  cpuCores: 2,
  rssBytes: 1,
  memoryAvailableBytes: 1e10,
  eventLoopDelayMs: 1,
  diskFreeBytes: 1e10,
  gpuBusyShare: Number.NaN,
  gpuMemoryFreeBytes: Number.NaN,
};
const MIB = 1024 * 1024;

suite('the throttle', () => {
  const rows: readonly (readonly [Partial<Reading>, string, readonly string[]])[] = [
    [{}, 'none', []],
    [{ machineCpuShare: 0.9 }, 'slow-training', ['machineCpuShare']],
    [{ machineCpuShare: 0.98 }, 'slow-batch', ['machineCpuShare']],
    [{ machineCpuShare: 1 }, 'slow-batch', ['machineCpuShare']],
    [{ eventLoopDelayMs: 200 }, 'slow-training', ['eventLoopDelayMs']],
    [{ eventLoopDelayMs: 500 }, 'slow-batch', ['eventLoopDelayMs']],
    [{ eventLoopDelayMs: 2_000 }, 'shed', ['eventLoopDelayMs']],
    [{ memoryAvailableBytes: 512 * MIB }, 'slow-training', ['memoryAvailableBytes']],
    [{ memoryAvailableBytes: 256 * MIB }, 'slow-batch', ['memoryAvailableBytes']],
    [{ memoryAvailableBytes: 0 }, 'shed', ['memoryAvailableBytes']],
    [{ diskFreeBytes: 1_024 * MIB }, 'slow-training', ['diskFreeBytes']],
    [{ diskFreeBytes: 100 * MIB }, 'shed', ['diskFreeBytes']],
    [{ machineCpuShare: 1, diskFreeBytes: 1 }, 'shed', ['diskFreeBytes']],
    [{ machineCpuShare: Number.NaN, memoryAvailableBytes: Number.NaN }, 'none', []],
  ];
  for (const [change, level, causes] of rows) {
    test(`says ${level} at ${JSON.stringify(change)}`, () => {
      const throttle = new Throttle(readMonitorConfig({ riseAfterReadings: 1 }));
      assert.deepEqual(throttle.next({ ...CALM, ...change }), { level, causes });
    });
  }

  test('rises only after several readings in a row, to what all of them ask for', () => {
    const throttle = new Throttle(readMonitorConfig({ riseAfterReadings: 2 }));
    const levels = [2_000, 1, 2_000, 200, 2_000, 2_000].map(
      (eventLoopDelayMs) => throttle.next({ ...CALM, eventLoopDelayMs }).level,
    );
    assert.deepEqual(levels, ['none', 'none', 'none', 'slow-training', 'slow-training', 'shed']);
  });

  test('falls one level at a time, and not while a value stands at its limit', () => {
    const config = readMonitorConfig({ riseAfterReadings: 1, fallAfterReadings: 2, fallMargin: 0.1 });
    const throttle = new Throttle(config);
    const at = (eventLoopDelayMs: number) => throttle.next({ ...CALM, eventLoopDelayMs });
    assert.equal(at(2_000).level, 'shed');
    // Within the limit, but not by the margin.
    for (let i = 0; i < 5; i++) assert.equal(at(1_900).level, 'shed');
    assert.deepEqual(at(1).causes, ['eventLoopDelayMs'], 'keeps the cause of the rise');
    assert.equal(at(1).level, 'slow-batch');
    assert.equal(at(1).level, 'slow-batch');
    assert.equal(at(499).level, 'slow-batch', 'counts anew after a value near the limit');
    assert.equal(at(1).level, 'slow-batch');
    assert.equal(at(1).level, 'slow-training');
    at(1);
    assert.deepEqual(at(1), { level: 'none', causes: [] });
  });

  const refused = [
    { machineCpuShare: { slowTraining: 0.9, slowBatch: 0.5, shed: 1 } },
    { diskFreeBytes: { slowTraining: 1, slowBatch: 2, shed: 3 } },
    { intervalMs: 1 },
    { gpu: 1 },
  ];
  for (const config of refused) {
    test(`refuses the limits ${JSON.stringify(config)}`, () => {
      assert.throws(() => readMonitorConfig(config as Parameters<typeof readMonitorConfig>[0]), {
        code: 'monitor.limits-invalid',
      });
    });
  }
});
