import assert from 'node:assert/strict';
import { createLogger, SeededRandom, systemClock } from '../../src/base/index.ts';
import {
  type BinColumn,
  CpuBackend,
  type FeatureBackend,
  findDisagreement,
  MeasuredBackend,
  newReduction,
  openBackend,
  openDevice,
  type Sample,
  sampleOf,
  WebGpuBackend,
} from '../../src/features/index.ts';
import { runCases } from './run-cases.ts';

/**
 * Cases on a real device, whatever adapter the environment names. Started as a process of its own, since drivers are
 * chosen when the package is loaded: prints one JSON object a case.
 */

const MIB = 1024 * 1024;
const cpu = new CpuBackend();

/** Bits that shaders are free to get wrong: subnormal, both zeros, the largest, infinities, NaN with a payload. */
const AWKWARD = Uint32Array.from([
  0x00000001, 0x80000001, 0x007fffff, 0x00000000, 0x80000000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
  0x7fc00000, 0xffc12345, 0x7f800001, 0x3f800000, 0xbf800000, 0xbf7fffff, 0x33800000, 0x3fb504f3, 0x3f3504f3,
]);

function randomSample(random: SeededRandom, rows: number, columns: number): Sample {
  const values = new Float32Array(rows * columns);
  const awkward = new Float32Array(AWKWARD.buffer);
  for (let i = 0; i < values.length; i++) {
    const draw = random.next();
    if (draw < 0.1) values[i] = awkward[random.integer(0, awkward.length - 1)] as number;
    else if (draw < 0.5) values[i] = random.integer(-3, 300);
    else values[i] = random.normal(0, 1) * 10 ** random.integer(-3, 9);
  }
  const bins = Array.from({ length: columns }, (_, column): BinColumn => {
    if (column % 3 === 2) {
      const size = random.integer(0, 200);
      return {
        column,
        cuts: new Float32Array(0),
        categories: Uint16Array.from({ length: size }, (_, i) => i * 2),
      };
    }
    // Cuts taken from the values themselves, so that equality with an edge is common.
    const near = Float32Array.from(
      { length: random.integer(0, 300) },
      () => values[random.integer(0, values.length - 1)] as number,
    );
    const cuts = new Set([...near].filter((x) => Number.isFinite(x) && Math.fround(x) !== 0).slice(0, 250));
    return {
      column,
      cuts: Float32Array.from([...cuts, 0])
        .sort()
        .slice(0, 254),
    };
  });
  const segments = random.integer(1, 40);
  return {
    table: { values, rows, columns },
    plan: {
      log1p: Uint8Array.from({ length: columns }, () => random.integer(0, 1)),
      mean: Float64Array.from({ length: columns }, () => random.uniform(-5, 20)),
      deviation: Float64Array.from({ length: columns }, () => random.uniform(0.1, 50)),
      clip: random.uniform(1, 100),
    },
    bins,
    keys: Uint32Array.from({ length: rows }, () =>
      random.next() < 0.5 ? 0 : random.integer(0, segments - 1),
    ),
  };
}

async function openGpu(
  memoryBytes = 64 * MIB,
): Promise<{ gpu: WebGpuBackend; device: GPUDevice; adapter: string }> {
  const opened = await openDevice();
  assert.ok(opened.device !== undefined, opened.device === undefined ? opened.reason : '');
  return { gpu: new WebGpuBackend(opened.device, { memoryBytes }), ...opened };
}

async function reduced(backend: FeatureBackend, { table, keys }: Sample, segments: number) {
  const out = newReduction(segments, table.columns);
  await backend.reduce(table, keys, out);
  return out;
}

const cases: Readonly<Record<string, () => Promise<void>>> = {
  'agrees with the CPU on awkward floats, edges met exactly, and tables of every shape': async () => {
    const { gpu } = await openGpu();
    const random = new SeededRandom(20_261);
    for (const [rows, columns] of [
      [1, 1],
      [3, 5],
      [257, 3],
      [700, 11],
      [5, 64],
      [2_000, 7],
    ] as const) {
      for (let round = 0; round < 4; round++) {
        const sample = randomSample(random, rows, columns);
        assert.equal(
          await findDisagreement(cpu, gpu, sample),
          undefined,
          `${rows} x ${columns}, round ${round}`,
        );
      }
    }
    gpu.close();
  },
  'takes a table of no rows and a segment of no rows': async () => {
    const { gpu } = await openGpu();
    assert.equal(
      await findDisagreement(cpu, gpu, { ...sampleOf(0), keys: new Uint32Array(0) }, 3),
      undefined,
    );
    assert.equal(await findDisagreement(cpu, gpu, sampleOf(10), 100), undefined);
    gpu.close();
  },
  'adds a segment of many rows without losing what is small beside the sum': async () => {
    const { gpu } = await openGpu();
    const rows = 20_000;
    const values = Float32Array.from({ length: rows }, (_, i) => (i === 0 ? 1e8 : 0.25));
    const sample = { ...sampleOf(0), table: { values, rows, columns: 1 }, keys: new Uint32Array(rows) };
    const { sums, counts } = await reduced(gpu, sample, 1);
    assert.equal(counts[0], rows);
    assert.equal(sums[0], 1e8 + 0.25 * (rows - 1));
    gpu.close();
  },
  'cuts what does not fit its memory into parts and evicts what was unused longest': async () => {
    const budget = MIB;
    const { gpu } = await openGpu(budget);
    const sample = sampleOf(6_000);
    assert.equal(await findDisagreement(cpu, gpu, sample), undefined);
    for (let i = 0; i < 40; i++) {
      // Each list of columns is a table of its own on the device.
      const bins = sample.bins.map((column) => ({ ...column }));
      await gpu.bin(sample.table, bins, new Uint8Array(sample.table.rows * bins.length));
      assert.ok(gpu.memory.bytes <= budget, `${gpu.memory.bytes} bytes`);
    }
    assert.ok(gpu.memory.evicted > 0);
    gpu.close();
  },
  'adds what leaves the range of float32': async () => {
    const { gpu } = await openGpu();
    const values = Float32Array.from([3e38, 3e38, Number.NaN, 3e38]);
    const sample = { ...sampleOf(0), table: { values, rows: 4, columns: 1 }, keys: new Uint32Array(4) };
    assert.equal((await reduced(gpu, sample, 1)).sums[0], 3 * Math.fround(3e38));
    gpu.close();
  },
  'refuses arrays of the wrong shape as the CPU does': async () => {
    const { gpu } = await openGpu();
    const { table, plan } = sampleOf(4);
    for (const backend of [cpu, gpu]) {
      await assert.rejects(backend.normalise(table, plan, new Float32Array(1)), {
        code: 'features.backend-shape',
      });
      const bins = [{ column: 0, cuts: Float32Array.from([2, 1]) }];
      await assert.rejects(backend.bin(table, bins, new Uint8Array(4)), { code: 'features.backend-shape' });
    }
    gpu.close();
  },
  'finishes on the CPU when the device is lost, says so once and stays there': async () => {
    const { gpu, device, adapter } = await openGpu();
    const lines: string[] = [];
    const logger = createLogger({ level: 'warn', write: (line) => lines.push(line) });
    const backend = await MeasuredBackend.open({ gpu, adapter, clock: systemClock, logger, always: true });
    const sample = sampleOf(3_000);
    const expected = await reduced(cpu, sample, 64);
    assert.deepEqual((await reduced(backend, sample, 64)).counts, expected.counts);
    assert.deepEqual(backend.counters, { cpu: 0, gpu: 1, fallbacks: 0 });
    const running = Array.from({ length: 3 }, () => reduced(backend, sample, 64));
    device.destroy();
    for (const result of await Promise.all(running)) assert.deepEqual(result, expected);
    assert.equal(await findDisagreement(cpu, backend, sample), undefined);
    assert.equal(backend.kind, 'cpu');
    assert.equal(backend.counters.gpu, 1);
    assert.equal(backend.counters.fallbacks, 3);
    assert.match(backend.reason ?? '', /destroyed/);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /computed on the CPU from now on/);
    backend.close();
  },
  'stays on the CPU by itself where the adapter is software, and measures it where asked to': async () => {
    const lines: string[] = [];
    const logger = createLogger({ level: 'info', write: (line) => lines.push(line) });
    const open = { clock: systemClock, logger };
    const byItself = await openBackend({ ...open, config: { backend: 'auto', deviceMemoryBytes: 64 * MIB } });
    assert.equal(byItself.kind, 'cpu');
    assert.match(lines.join(''), /software adapter/);
    const asked = await openBackend({ ...open, config: { backend: 'gpu', deviceMemoryBytes: 64 * MIB } });
    assert.ok(asked instanceof MeasuredBackend);
    for (const { cpu: onCpu, gpu: onGpu } of Object.values(asked.crossovers)) {
      for (const cost of [onCpu, onGpu]) assert.ok(cost.fixedMs >= 0 && cost.perRowMs >= 0);
    }
    assert.equal(await findDisagreement(cpu, asked, sampleOf(500)), undefined);
    assert.equal(asked.counters.cpu, 0);
    asked.close();
  },
};

await runCases(cases);
