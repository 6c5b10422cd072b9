import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { randomEnsemble, randomRows } from '../../../test/support/random-model.ts';
import { SeededRandom } from '../../base/index.ts';
import { orderKey } from '../../features/index.ts';
import { sumMargins, type TreeEnsemble } from '../../models/index.ts';
import { FLAG_BITS, fromFixed, type PackedTrees, packTrees } from './packed-trees.ts';

const COLUMNS = 3;
const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** What the shader does, in plain words: the sum of head `h` for one row. */
function walk(packed: PackedTrees, h: number, row: Float32Array): number {
  let sum = 0n;
  const { nodes, roots, bitsets, heads } = packed;
  for (let t = roots[h * 2] as number; t < (roots[h * 2 + 1] as number); t++) {
    let at = (roots[heads * 2 + t] as number) * 4;
    while (nodes[at + 2] !== 0) {
      const word = nodes[at + 1] as number;
      float[0] = row[word & 0xffff] as number;
      at = ((nodes[at + 2] as number) + (left(nodes[at] as number, word, bitsets) ? 0 : 1)) * 4;
    }
    sum += BigInt.asIntN(64, (BigInt(nodes[at + 3] as number) << 32n) | BigInt(nodes[at] as number));
  }
  const words = BigInt.asUintN(64, sum);
  return fromFixed(Number(words & 0xffffffffn), Number(words >> 32n), packed.unit);
}

function left(key: number, word: number, bitsets: Uint32Array): boolean {
  const missingLeft = (word & FLAG_BITS.missingLeft) !== 0;
  const [value] = bits as unknown as [number];
  if ((word & FLAG_BITS.categorical) !== 0) {
    const category = value === 0x80000000 ? 0 : value >= 0x43800000 ? -1 : Math.trunc(float[0] as number);
    if (category < 0) return missingLeft;
    return (((bitsets[key + (category >> 5)] as number) >>> (category & 31)) & 1) !== 0;
  }
  return (value & 0x7fffffff) > 0x7f800000 ? missingLeft : orderKey(value) <= key;
}

/** Leaves and thresholds of every magnitude. */
function stretched(ensemble: TreeEnsemble, random: SeededRandom, decades: number): TreeEnsemble {
  const value = ensemble.value.map((v) => v * 10 ** random.integer(-decades, 2));
  return { ...ensemble, value };
}

suite('trees packed for a device', () => {
  test('give the sums of the plain walk, whatever the leaves and the rows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(0, 4, 30), (seed, decades) => {
        const random = new SeededRandom(seed);
        const ensemble = stretched(randomEnsemble(random, 12, 9), random, decades);
        const rows = randomRows(random, 20);
        const awkward = [0x80000000, 1, 0x80000001, 0x7f800000, 0xff800000, 0xffc00001, 0x437fffff];
        for (const [i, word] of awkward.entries()) {
          bits[0] = word;
          rows[i * 7] = float[0] as number;
        }
        const packed = packTrees(ensemble, [{ firstTree: 0, endTree: 12 }], 0.7);
        const expected = sumMargins(ensemble, 0.7, rows, 20);
        for (let r = 0; r < 20; r++) {
          const got = 0.7 + walk(packed, 0, rows.subarray(r * COLUMNS, (r + 1) * COLUMNS));
          assert.ok(Math.abs(got - (expected[r] as number)) <= packed.tolerance, `${got} ${expected[r]}`);
        }
      }),
      { seed: 20_261_123, numRuns: 60 },
    );
  });

  test('tell how far a sum may lie from the CPU by far less than a float32 can show', () => {
    const packed = packTrees(
      randomEnsemble(new SeededRandom(5), 100, 60),
      [{ firstTree: 0, endTree: 100 }],
      -3,
    );
    assert.ok(packed.tolerance > 0 && packed.tolerance < 1e-11, `${packed.tolerance}`);
  });

  test('are sums of each head apart', () => {
    const random = new SeededRandom(6);
    const ensemble = randomEnsemble(random, 5, 6);
    const row = randomRows(random, 1);
    const heads = [
      { firstTree: 0, endTree: 2 },
      { firstTree: 2, endTree: 2 },
      { firstTree: 2, endTree: 5 },
    ];
    const packed = packTrees(ensemble, heads, 0);
    const all = walk(packTrees(ensemble, [{ firstTree: 0, endTree: 5 }], 0), 0, row);
    assert.equal(walk(packed, 1, row), 0);
    assert.ok(Math.abs(walk(packed, 0, row) + walk(packed, 2, row) - all) < 1e-12);
  });

  test('of no tree at all are zero', () => {
    const none = randomEnsemble(new SeededRandom(1), 0, 0);
    assert.equal(walk(packTrees(none, [{ firstTree: 0, endTree: 0 }], 0), 0, new Float32Array(3)), 0);
  });

  test('order numbers as floats are ordered', () => {
    const float32 = fc.float({ noNaN: true });
    fc.assert(
      fc.property(float32, float32, (a, b) => {
        float[0] = a;
        const first = orderKey(bits[0] as number);
        float[0] = b;
        assert.equal(first <= orderKey(bits[0] as number), a <= b);
      }),
      { seed: 20_261_123 },
    );
  });
});
