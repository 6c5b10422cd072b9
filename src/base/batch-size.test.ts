import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BatchSize } from './batch-size.ts';
import { ManualClock } from './clock.ts';
import { SeededRandom } from './random.ts';

interface Load {
  readonly seconds: number;
  readonly perSecond: number;
}

/** One worker, items that arrive one by one at random, time that a clock of ours tells. */
function simulate(
  sizer: BatchSize,
  loads: readonly Load[],
  cost: (items: number, second: number) => number,
  seed = 1,
) {
  const random = new SeededRandom(seed);
  const clock = new ManualClock(0);
  const arrivals: number[] = [];
  let begin = 0;
  for (const { seconds, perSecond } of loads) {
    for (let t = begin + random.exponential(1000 / perSecond); t < begin + seconds * 1000; ) {
      arrivals.push(t);
      t += random.exponential(1000 / perSecond);
    }
    begin += seconds * 1000;
  }
  const queue: number[] = [];
  const answered: { readonly at: number; readonly latency: number }[] = [];
  const refused: number[] = [];
  const sizes: { readonly at: number; readonly items: number }[] = [];
  let next = 0;
  const takeArrivals = (until: number, freeAt: number) => {
    for (; next < arrivals.length && (arrivals[next] as number) <= until; next++) {
      const at = arrivals[next] as number;
      if (sizer.admits(queue.length, Math.max(0, freeAt - at))) queue.push(at);
      else refused.push(at);
    }
  };
  while (next < arrivals.length || queue.length > 0) {
    if (queue.length === 0) {
      const at = arrivals[next] as number;
      clock.advance(Math.max(0, at - clock.now()));
      takeArrivals(clock.now(), clock.now());
      continue;
    }
    const started = clock.now();
    const batch = queue.splice(0, sizer.next(started - (queue[0] as number)));
    const took = cost(batch.length, started / 1000);
    takeArrivals(started + took, started + took);
    clock.advance(took);
    for (const at of batch) answered.push({ at, latency: clock.now() - at });
    sizes.push({ at: started, items: batch.length });
    sizer.observe(batch.length, took);
  }
  return { answered, refused, sizes };
}

test('the fitted line lies over the batches and has their slope', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 2, noNaN: true }),
      fc.double({ min: 0, max: 20, noNaN: true }),
      fc.array(fc.integer({ min: 1, max: 4096 }), { minLength: 3, maxLength: 400 }),
      (perItem, fixed, sizes) => {
        const sizer = new BatchSize({ targetMs: 100, maxItems: 10_000 });
        for (const n of sizes) sizer.observe(n, perItem * n + fixed);
        const recent = sizes.slice(-256);
        // Powers of two: sizes of one bucket are one point.
        if (new Set(recent.map((n) => Math.clz32(n))).size < 2) return;
        assert.ok(sizer.cost.perItemMs > 0.3 * perItem && sizer.cost.perItemMs < 3 * perItem);
        const under = recent.filter((n) => perItem * n + fixed <= sizer.predict(n) + 1e-9);
        assert.ok(under.length >= Math.floor(recent.length * 0.99));
      },
    ),
    { seed: 20261123, numRuns: 200 },
  );
});

test('a batch that was held up once does not change the size', () => {
  const sizer = new BatchSize({ targetMs: 100, maxItems: 1_000_000 });
  for (let i = 0; i < 250; i++) sizer.observe(1 + ((i * 37) % 200), 1 + (1 + ((i * 37) % 200)) * 0.1);
  const before = sizer.predict(100);
  sizer.observe(60, 900);
  assert.ok(Math.abs(sizer.predict(100) - before) < 1, `${sizer.predict(100)} after ${before}`);
});

test('the size begins at one, at most doubles with a batch and shrinks at once', () => {
  const sizer = new BatchSize({ targetMs: 100, maxItems: 1000 });
  const sizes = [sizer.next()];
  for (let i = 0; i < 12; i++) {
    const n = sizer.next();
    sizer.observe(n, 1 + n * 0.01);
    sizes.push(sizer.next());
  }
  assert.deepEqual(sizes.slice(0, 5), [1, 2, 4, 8, 16]);
  assert.equal(sizes.at(-1), 1000);
  sizer.observe(1000, 2_000);
  assert.ok(sizer.next() <= 48, `${sizer.next()}`);
});

test('what has waited gets a smaller batch, and what is too late already does not', () => {
  const sizer = new BatchSize({ targetMs: 100, maxItems: 1_000 });
  for (let n = 1; n <= 256; n *= 2) sizer.observe(n, n * 0.1);
  assert.ok(sizer.next(90) <= 80);
  assert.equal(sizer.next(1_000), sizer.next());
});

test('under steps of load it keeps the target, with larger batches where there is more to do', () => {
  const sizer = new BatchSize({ targetMs: 50, maxItems: 100_000 });
  // One at a time 400 a second could be done; batches of many do 10,000.
  const cost = (items: number) => 2.4 + items * 0.1;
  const { answered, refused, sizes } = simulate(
    sizer,
    [
      { seconds: 2, perSecond: 50 },
      { seconds: 4, perSecond: 5_000 },
      { seconds: 2, perSecond: 100 },
      { seconds: 4, perSecond: 7_000 },
    ],
    cost,
  );
  const settled = answered.filter(({ at }) => at > 500);
  assert.ok(settled.length > 40_000);
  const late = settled.filter(({ latency }) => latency > 50);
  assert.equal(late.length, 0, `${late.length} of ${settled.length} late`);
  assert.ok(refused.length < 0.01 * answered.length, `${refused.length} refused`);
  const mean = (from: number, to: number) => {
    const found = sizes.filter(({ at }) => at >= from && at < to);
    return found.reduce((sum, { items }) => sum + items, 0) / found.length;
  };
  assert.ok(mean(500, 2_000) < 2);
  assert.ok(mean(3_000, 6_000) > 20);
  assert.ok(mean(7_000, 8_000) < 3);
});

test('a machine that slows down gets smaller batches, and larger ones again when it is fast', () => {
  const sizer = new BatchSize({ targetMs: 50, maxItems: 100_000 });
  const cost = (items: number, second: number) => (1 + items * 0.05) * (second > 3 && second < 6 ? 4 : 1);
  const { answered, refused } = simulate(sizer, [{ seconds: 12, perSecond: 3_000 }], cost);
  const late = answered.filter(({ latency }) => latency > 50);
  // The batch during which it slowed down could not know.
  assert.ok(late.length < 0.005 * answered.length, `${late.length} of ${answered.length} late`);
  assert.ok(refused.filter((at) => at > 10_000).length === 0);
});

test('more than can be done in time is refused on arrival, and what is let in is answered in time', () => {
  const sizer = new BatchSize({ targetMs: 50, maxItems: 100_000 });
  const { answered, refused } = simulate(sizer, [{ seconds: 6, perSecond: 20_000 }], (n) => 2 + n * 0.1);
  const settled = answered.filter(({ at }) => at > 1_000);
  const late = settled.filter(({ latency }) => latency > 50);
  // One refused item in 64 is let in to measure again.
  assert.ok(late.length <= settled.length * 0.03, `${late.length} of ${settled.length} late`);
  assert.ok(refused.length > answered.length / 2);
  assert.ok(settled.length / 5 > 7_000, `${settled.length / 5} a second of 10,000 possible`);
});

test('a target that no batch can meet refuses all but the probes', () => {
  const sizer = new BatchSize({ targetMs: 50, maxItems: 100_000 });
  const { answered, refused } = simulate(sizer, [{ seconds: 4, perSecond: 1_000 }], () => 80);
  assert.ok(answered.length < 0.1 * refused.length, `${answered.length} answered`);
});
