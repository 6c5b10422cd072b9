import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CpuBackend } from './cpu-backend.ts';
import { newReduction } from './feature-backend.ts';

const cpu = new CpuBackend();
const SEED = { seed: 20261123, numRuns: 200 };
const float = fc.float({ noDefaultInfinity: false });

test('normalised values are the formula, missing where there is none', async () => {
  const plan = (log1p: number) => ({
    log1p: Uint8Array.of(log1p),
    mean: Float64Array.of(2),
    deviation: Float64Array.of(4),
    clip: 3,
  });
  const run = async (log1p: number, ...values: number[]) => {
    const out = new Float32Array(values.length);
    await cpu.normalise(
      { values: Float32Array.from(values), rows: values.length, columns: 1 },
      plan(log1p),
      out,
    );
    return [...out];
  };
  assert.deepEqual(await run(0, 2, 6, 1e9, -1e9, Number.NaN, Infinity), [
    0,
    1,
    3,
    -3,
    Number.NaN,
    Number.NaN,
  ]);
  assert.deepEqual(await run(1, 1e6, -1, -2, 0), [
    Math.fround((Math.log1p(1e6) - 2) / 4),
    Number.NaN,
    Number.NaN,
    -0.5,
  ]);
});

test('the bin of a number is one more than the cuts below it, and 0 is missing', async () => {
  const cutsOf = fc.uniqueArray(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 254 });
  await fc.assert(
    fc.asyncProperty(cutsOf, fc.array(float, { maxLength: 50 }), async (list, values) => {
      const cuts = Float32Array.from(new Set(list.map((x) => x + 0))).sort();
      const all = Float32Array.from([...values, ...cuts]);
      const out = new Uint8Array(all.length);
      await cpu.bin({ values: all, rows: all.length, columns: 1 }, [{ column: 0, cuts }], out);
      for (const [i, x] of all.entries()) {
        assert.equal(out[i], Number.isFinite(x) ? 1 + cuts.filter((cut) => cut < x).length : 0);
      }
    }),
    SEED,
  );
});

test('the bin of a category is its place in the list, and what is not in the list is missing', async () => {
  const categories = Uint16Array.of(0, 3, 700);
  const values = Float32Array.of(0, 3, 700, 1, 701, -0.5, -1, 65_536, 1e30, Number.NaN);
  const out = new Uint16Array(values.length);
  const columns = [{ column: 0, cuts: new Float32Array(0), categories }];
  await cpu.bin({ values, rows: values.length, columns: 1 }, columns, out);
  assert.deepEqual([...out], [1, 2, 3, 0, 0, 0, 0, 0, 0, 0]);
});

test('a reduction is what filtering by key and adding gives', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(4), float), { maxLength: 60 }), async (rows) => {
      const out = newReduction(5, 1);
      const table = { values: Float32Array.from(rows, ([, x]) => x), rows: rows.length, columns: 1 };
      await cpu.reduce(
        table,
        Uint32Array.from(rows, ([key]) => key),
        out,
      );
      for (let key = 0; key < 5; key++) {
        const own = rows.filter(([k, x]) => k === key && Number.isFinite(x)).map(([, x]) => x);
        assert.equal(out.counts[key], own.length);
        assert.equal(
          out.sums[key],
          own.reduce((sum, x) => sum + x, 0),
        );
        if (own.length === 0) assert.ok(Number.isNaN(out.maxima[key]));
        else assert.ok((out.maxima[key] as number) === Math.max(...own));
      }
    }),
    SEED,
  );
});

test('arrays of the wrong shape and edges that do not ascend are refused', async () => {
  const table = { values: new Float32Array(4), rows: 2, columns: 2 };
  const plan = {
    log1p: new Uint8Array(2),
    mean: new Float64Array(2),
    deviation: Float64Array.of(1, 0),
    clip: 1,
  };
  const bin = (cuts: number[], out = new Uint8Array(2), column = 0) =>
    cpu.bin(table, [{ column, cuts: Float32Array.from(cuts) }], out);
  const refused = [
    () => cpu.normalise(table, plan, new Float32Array(4)),
    () => cpu.normalise({ ...table, rows: 3 }, plan, new Float32Array(4)),
    () => bin([1, 1]),
    () => bin([Number.NaN]),
    () => bin([1, Number.NaN, 3]),
    () => bin([1], new Uint8Array(2), 2),
    () => bin(Array.from({ length: 255 }, (_, i) => i)),
    () => bin([1], new Uint8Array(3)),
    () => cpu.reduce(table, Uint32Array.of(0, 3), newReduction(3, 2)),
    () => cpu.reduce(table, Uint32Array.of(0), newReduction(3, 2)),
  ];
  for (const run of refused) await assert.rejects(run, { code: 'features.backend-shape' }, run.toString());
});
