import assert from 'node:assert/strict';
import { test } from 'node:test';
import { miss } from '../../../test/support/requires.ts';
import { createLogger, ManualClock, silentLogger } from '../../base/index.ts';
import { FeatureError } from '../errors.ts';
import { CpuBackend } from './cpu-backend.ts';
import { crossing, MEASURED_COLUMNS, measureCrossovers, sampleOf } from './crossover.ts';
import type { FeatureBackend, FloatTable, Reduction } from './feature-backend.ts';
import { newReduction } from './feature-backend.ts';
import { MeasuredBackend } from './measured-backend.ts';
import { mayHaveGpu, openBackend } from './open-backend.ts';
import { openDevice } from './open-device.ts';

/** Computes as the CPU does and takes the time it is told to. */
class PacedBackend extends CpuBackend {
  batches = 0;
  readonly #clock: ManualClock;
  readonly #cost: (rows: number) => number;

  constructor(clock: ManualClock, cost: (rows: number) => number) {
    super();
    this.#clock = clock;
    this.#cost = cost;
  }

  override async reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void> {
    this.batches++;
    this.#clock.advance(this.#cost(table.rows));
    return super.reduce(table, keys, out);
  }
}

const config = { backend: 'gpu', deviceMemoryBytes: 1 << 20 } as const;

function reduce(backend: FeatureBackend, rows: number): Promise<void> {
  const { table, keys } = sampleOf(rows);
  return backend.reduce(table, keys, newReduction(64, MEASURED_COLUMNS));
}

test('the threshold is where the measured lines cross', async () => {
  const clock = new ManualClock(0);
  const slow = new PacedBackend(clock, (rows) => 0.01 * rows);
  const wide = new PacedBackend(clock, (rows) => 5 + 0.001 * rows);
  const { reduce: found } = await measureCrossovers(slow, wide, { clock });
  assert.ok(Math.abs(found.rows - 556) <= 1, `${found.rows}`);
  const { reduce: never } = await measureCrossovers(wide, slow, { clock });
  assert.equal(never.rows, Number.POSITIVE_INFINITY);
  assert.equal(crossing({ fixedMs: 9, perRowMs: 2 }, { fixedMs: 1, perRowMs: 1 }), 1);
});

test('small batches run on the CPU, large ones on the device, until it is lost', async () => {
  const clock = new ManualClock(0);
  const lost = Promise.withResolvers<string>();
  const gpu = Object.assign(new PacedBackend(clock, () => 0), { kind: 'gpu' as never, lost: lost.promise });
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', write: (line) => lines.push(line) });
  // The CPU's own time does not pass on this clock, so the crossing is set by hand.
  const backend = await MeasuredBackend.open({
    ...{ gpu, adapter: 'made up', clock, logger },
    measure: async () => ({
      normalise: { cpu: { fixedMs: 0, perRowMs: 1 }, gpu: { fixedMs: 1, perRowMs: 0 }, rows: 100 },
      bin: { cpu: { fixedMs: 0, perRowMs: 1 }, gpu: { fixedMs: 1, perRowMs: 0 }, rows: 100 },
      reduce: { cpu: { fixedMs: 0, perRowMs: 1 }, gpu: { fixedMs: 1, perRowMs: 0 }, rows: 100 },
    }),
  });
  await reduce(backend, 99);
  await reduce(backend, 100);
  assert.deepEqual(backend.counters, { cpu: 1, gpu: 1, fallbacks: 0 });
  lost.resolve('unplugged');
  await lost.promise;
  await reduce(backend, 100);
  assert.deepEqual(backend.counters, { cpu: 2, gpu: 1, fallbacks: 0 });
  assert.equal(backend.kind, 'cpu');
  assert.equal(backend.reason, 'unplugged');
  assert.equal(lines.length, 1);
  backend.close();
});

test('a device that computes wrongly is not used', async () => {
  class WrongBackend extends CpuBackend {
    readonly lost = new Promise<string>(() => {});
    override async reduce(table: FloatTable, keys: Uint32Array, out: Reduction): Promise<void> {
      await super.reduce(table, keys, out);
      out.sums[7] = (out.sums[7] as number) * 1.001;
    }
  }
  const open = MeasuredBackend.open({
    ...{ gpu: new WrongBackend(), adapter: 'made up', clock: new ManualClock(0), logger: silentLogger },
  });
  await assert.rejects(open, (error: unknown) => {
    assert.ok(error instanceof FeatureError && error.code === 'features.device-lost');
    assert.match(error.message, /^reduce: segment 0, column 7: sum/);
    return true;
  });
});

test('without package or adapter features are computed on the CPU, with a warning for who asked for a GPU', async () => {
  const absent = await openDevice(() => Promise.reject(new Error('cannot find package')));
  assert.match('reason' in absent ? absent.reason : '', /not installed/);
  for (const [backend, warnings] of [
    ['gpu', 1],
    ['auto', 0],
    ['cpu', 0],
  ] as const) {
    const lines: string[] = [];
    const logger = createLogger({ level: 'warn', write: (line) => lines.push(line) });
    const opened = await openBackend({
      ...{ config: { ...config, backend }, clock: new ManualClock(0), logger },
      open: async () => absent,
    });
    assert.equal(opened.kind, 'cpu');
    assert.equal(lines.length, warnings, backend);
  }
});

test('a machine without device nodes is taken to have no GPU', (t) => {
  if (process.platform !== 'linux') return void miss(t, 'looks at the device nodes of Linux');
  const before = process.env.VK_DRIVER_FILES;
  delete process.env.VK_DRIVER_FILES;
  assert.equal(mayHaveGpu('/nowhere'), false);
  if (before !== undefined) process.env.VK_DRIVER_FILES = before;
});
