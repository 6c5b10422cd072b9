import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { SeededRandom } from '../base/index.ts';
import { Adwin } from './adwin.ts';

/** Every value kept, every mean summed anew; only where it may cut is the same. */
class NaiveWindow {
  buckets: number[][] = [];
  #seen = 0;
  readonly #delta: number;

  constructor(delta: number) {
    this.#delta = delta;
  }

  get values(): number[] {
    return this.buckets.flat();
  }

  add(value: number): boolean {
    this.buckets.push([value]);
    for (let size = 1; this.buckets.filter((b) => b.length === size).length > 5; size *= 2) {
      const at = this.buckets.findIndex((b) => b.length === size);
      this.buckets.splice(at, 2, [...(this.buckets[at] ?? []), ...(this.buckets[at + 1] ?? [])]);
    }
    if (++this.#seen % 32 !== 0) return false;
    let cut = false;
    for (; this.#differs(); cut = true) this.buckets.shift();
    return cut;
  }

  #differs(): boolean {
    const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
    return this.buckets.slice(1).some((_, i) => {
      const old = this.buckets.slice(0, i + 1).flat();
      const fresh = this.buckets.slice(i + 1).flat();
      const n = old.length + fresh.length;
      const m = 1 / (1 / old.length + 1 / fresh.length);
      return Math.abs(mean(old) - mean(fresh)) >= Math.sqrt(Math.log((4 * n) / this.#delta) / (2 * m));
    });
  }
}

suite('the adaptive window', () => {
  test('cuts where a window that keeps every value does, and has its mean', () => {
    const random = new SeededRandom(7);
    const fast = new Adwin({ delta: 0.002 });
    const naive = new NaiveWindow(0.002);
    let cuts = 0;
    for (let i = 0; i < 4_000; i++) {
      const value = Math.min(1, random.next() * (Math.floor(i / 900) % 2 === 0 ? 0.3 : 1));
      const cut = fast.add(value);
      assert.equal(cut, naive.add(value), `value ${i}`);
      if (cut) cuts++;
      if (i % 97 !== 0) continue;
      const { values } = naive;
      assert.equal(fast.size, values.length);
      assert.ok(Math.abs(fast.mean - values.reduce((sum, each) => sum + each, 0) / values.length) < 1e-9);
    }
    assert.ok(cuts >= 4);
  });

  test('is not cut in a stream of one mean more often than it promises', () => {
    let looks = 0;
    let cuts = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const random = new SeededRandom(seed);
      const window = new Adwin({ delta: 0.05 });
      for (let i = 0; i < 6_400; i++) if (window.add(random.next() < 0.3 ? 1 : 0)) cuts++;
      looks += 200;
    }
    assert.ok(cuts <= 0.05 * looks, `${cuts} of ${looks}`);
  });

  test('finds a change of a fifth within a few hundred values, and forgets what was before', () => {
    const random = new SeededRandom(3);
    const window = new Adwin();
    for (let i = 0; i < 20_000; i++) assert.equal(window.add(random.next() < 0.1 ? 1 : 0), false);
    let after = 0;
    while (!window.add(random.next() < 0.3 ? 1 : 0)) after++;
    assert.ok(after < 600, `${after}`);
    for (let i = 0; i < 5_000; i++) window.add(random.next() < 0.3 ? 1 : 0);
    assert.ok(window.size < 7_000 && Math.abs(window.mean - 0.3) < 0.03, `${window.size} ${window.mean}`);
  });

  test('refuses chances that are none', () => {
    for (const delta of [0, 1, Number.NaN])
      assert.throws(() => new Adwin({ delta }), { code: 'models.argument-invalid' });
  });
});
