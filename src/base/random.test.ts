import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ManualClock, systemClock } from './clock.ts';
import { SeededRandom } from './random.ts';

describe('SeededRandom', () => {
  it('gives the same numbers for the same seed, and others for another', () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 8 }, () => random.uint32());
    };
    assert.deepEqual(draw(7), draw(7));
    assert.notDeepEqual(draw(7), draw(8));
  });

  it('pins its stream, so that a change of generator cannot pass unseen', () => {
    const random = new SeededRandom(42);
    assert.deepEqual([random.uint32(), random.uint32(), random.uint32()], [660444221, 3652823732, 77672526]);
  });

  it('refuses seeds that are not 32-bit whole numbers', () => {
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN]) {
      assert.throws(() => new SeededRandom(seed), { code: 'base.seed-invalid' });
    }
  });

  it('has the moments its distributions promise', () => {
    const random = new SeededRandom(1);
    const n = 20_000;
    const mean = (f: () => number) => Array.from({ length: n }, f).reduce((a, b) => a + b) / n;
    assert.ok(Math.abs(mean(() => random.next()) - 0.5) < 0.01);
    assert.ok(Math.abs(mean(() => random.normal(3, 2)) - 3) < 0.06);
    assert.ok(Math.abs(mean(() => random.exponential(5)) - 5) < 0.15);
    assert.ok(Math.abs(mean(() => random.pareto(1, 3)) - 1.5) < 0.05);
    assert.ok(Math.abs(mean(() => (random.chance(0.2) ? 1 : 0)) - 0.2) < 0.01);
    assert.ok(Math.abs(mean(() => random.integer(1, 6)) - 3.5) < 0.05);
    assert.ok(random.uniform(2, 3) >= 2);
    assert.ok(random.logNormal(0, 1) > 0);
  });

  it('shuffles without loss, picks what is there, and forks independent streams', () => {
    const random = new SeededRandom(3);
    const items = Array.from({ length: 50 }, (_, i) => i);
    assert.deepEqual(
      [...random.shuffle([...items])].sort((a, b) => a - b),
      items,
    );
    assert.ok(items.includes(random.pick(items)));
    const fork = random.fork();
    assert.notEqual(fork.uint32(), random.uint32());
  });
});

it('keeps a manual clock still until it is moved, and the system clock going', () => {
  const clock = new ManualClock(1000);
  clock.advance(5);
  assert.equal(clock.now(), 1005);
  assert.equal(clock.monotonic(), 1005);
  assert.ok(systemClock.now() > Date.UTC(2020, 0));
  assert.ok(systemClock.monotonic() >= 0);
});
