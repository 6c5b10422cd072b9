import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CompactRange,
  leafHash,
  nodeHash,
  splitPoint,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';

/** The eight leaves of the Certificate Transparency reference tests, and the roots over the first n. */
const LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const hex = (text: string) => Buffer.from(text, 'hex');
const referenceLeaves = LEAVES.map((leaf) => leafHash(hex(leaf)));

/** RFC 6962 section 2.1 word for word: slow and obvious. */
function naiveRoot(leaves: readonly Buffer[]): Buffer {
  if (leaves.length < 2) return leaves[0] ?? hex(ROOTS[0] ?? '');
  const k = splitPoint(leaves.length);
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

function naivePath(m: number, leaves: readonly Buffer[]): Buffer[] {
  if (leaves.length < 2) return [];
  const k = splitPoint(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k ? [...naivePath(m, left), naiveRoot(right)] : [...naivePath(m - k, right), naiveRoot(left)];
}

function naiveSubproof(m: number, leaves: readonly Buffer[], isWhole: boolean): Buffer[] {
  if (m === leaves.length) return isWhole ? [] : [naiveRoot(leaves)];
  const k = splitPoint(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m <= k
    ? [...naiveSubproof(m, left, isWhole), naiveRoot(right)]
    : [...naiveSubproof(m - k, right, false), naiveRoot(left)];
}

const numbered = (n: number) => Array.from({ length: n }, (_, i) => leafHash(Buffer.from(`entry ${i}`)));

test('gives the roots of the Certificate Transparency reference tree', () => {
  for (const [n, root] of ROOTS.entries()) {
    assert.equal(treeRoot(referenceLeaves.slice(0, n)).toString('hex'), root, `size ${n}`);
    assert.equal(naiveRoot(referenceLeaves.slice(0, n)).toString('hex'), root, `size ${n}`);
  }
});

test('verifies the reference inclusion proof of the first leaf of eight', () => {
  const hashes = [
    '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
    '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
    '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
  ].map(hex);
  const [leaf] = referenceLeaves;
  assert.ok(leaf !== undefined);
  assert.ok(verifyInclusion({ index: 0, size: 8, leaf, hashes, root: hex(ROOTS[8] ?? '') }));
});

test('verifies the reference consistency proof from six to eight', () => {
  const hashes = [
    '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
    'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  ].map(hex);
  const roots = { fromRoot: hex(ROOTS[6] ?? ''), toRoot: hex(ROOTS[8] ?? '') };
  assert.ok(verifyConsistency({ from: 6, to: 8, ...roots, hashes }));
  assert.ok(!verifyConsistency({ from: 5, to: 8, ...roots, hashes }));
  assert.ok(!verifyConsistency({ from: 6, to: 8, fromRoot: roots.toRoot, toRoot: roots.fromRoot, hashes }));
});

test('the growing range equals the definition at every size', () => {
  const leaves = numbered(600);
  const range = new CompactRange();
  for (const n of [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 600]) {
    while (range.size < n) range.append(leaves[range.size] ?? Buffer.alloc(0));
    assert.deepEqual(range.root(), naiveRoot(leaves.slice(0, n)), `size ${n}`);
  }
});

test('verifies every inclusion proof up to 40, and none that is altered', () => {
  for (let size = 1; size <= 40; size++) {
    const leaves = numbered(size);
    const root = naiveRoot(leaves);
    for (const [index, leaf] of leaves.entries()) {
      const hashes = naivePath(index, leaves);
      const good = { index, size, leaf, hashes, root };
      assert.ok(verifyInclusion(good), `${index} of ${size}`);
      for (const [what, bad] of Object.entries({
        leaf: { ...good, leaf: leafHash(Buffer.from('x')) },
        root: { ...good, root: leaf.equals(root) ? Buffer.alloc(32) : leaf },
        longer: { ...good, hashes: [...hashes, root] },
        index: { ...good, index: size },
        negative: { ...good, index: -1 },
        fraction: { ...good, index: index + 0.5 },
      })) {
        assert.ok(!verifyInclusion(bad), `${index} of ${size}: ${what}`);
      }
      for (let i = 0; i < hashes.length; i++) {
        const bad = hashes.map((hash, j) => (i === j ? nodeHash(hash, hash) : hash));
        assert.ok(!verifyInclusion({ ...good, hashes: bad }));
        assert.ok(!verifyInclusion({ ...good, hashes: hashes.toSpliced(i, 1) }));
      }
    }
  }
});

test('proofs of random sizes up to 600 verify, and altered ones do not', () => {
  const leaves = numbered(600);
  const sizes = fc.tuple(fc.integer({ min: 1, max: 600 }), fc.nat(), fc.nat()).map(([to, a, b]) => ({
    to,
    from: 1 + (a % to),
    index: b % to,
  }));
  fc.assert(
    fc.property(sizes, fc.nat(), fc.integer({ min: 0, max: 255 }), ({ from, to, index }, which, bit) => {
      const tree = leaves.slice(0, to);
      const toRoot = naiveRoot(tree);
      const path = naivePath(index, tree);
      const leaf = tree[index] ?? Buffer.alloc(0);
      assert.ok(verifyInclusion({ index, size: to, leaf, hashes: path, root: toRoot }));
      const fromRoot = naiveRoot(tree.slice(0, from));
      const hashes = naiveSubproof(from, tree, true);
      assert.ok(verifyConsistency({ from, to, fromRoot, toRoot, hashes }));
      assert.ok(!verifyConsistency({ from, to, fromRoot: flip(fromRoot, bit), toRoot, hashes }));
      assert.ok(!verifyConsistency({ from, to, fromRoot, toRoot: flip(toRoot, bit), hashes }));
      assert.ok(!verifyConsistency({ from, to, fromRoot, toRoot, hashes: [...hashes, fromRoot] }));
      if (path.length > 0) {
        const bad = path.map((hash, i) => (i === which % path.length ? flip(hash, bit) : hash));
        assert.ok(!verifyInclusion({ index, size: to, leaf, hashes: bad, root: toRoot }));
      }
      if (hashes.length > 0) {
        const bad = hashes.map((hash, i) => (i === which % hashes.length ? flip(hash, bit) : hash));
        assert.ok(!verifyConsistency({ from, to, fromRoot, toRoot, hashes: bad }));
        assert.ok(!verifyConsistency({ from, to, fromRoot, toRoot, hashes: hashes.slice(1) }));
      }
    }),
    { seed: 6962, numRuns: 80 },
  );
});

test('every tree begins with the empty one and with itself, and no tree shrinks', () => {
  const [empty, root] = [naiveRoot([]), naiveRoot(numbered(5))];
  assert.ok(verifyConsistency({ from: 0, to: 5, fromRoot: empty, toRoot: root, hashes: [] }));
  assert.ok(!verifyConsistency({ from: 0, to: 5, fromRoot: root, toRoot: root, hashes: [] }));
  assert.ok(verifyConsistency({ from: 5, to: 5, fromRoot: root, toRoot: root, hashes: [] }));
  assert.ok(!verifyConsistency({ from: 5, to: 5, fromRoot: root, toRoot: empty, hashes: [] }));
  assert.ok(!verifyConsistency({ from: 5, to: 4, fromRoot: root, toRoot: root, hashes: [] }));
  assert.ok(!verifyConsistency({ from: 3, to: 5, fromRoot: root, toRoot: root, hashes: [] }));
});

function flip(hash: Buffer, bit: number): Buffer {
  const out = Buffer.from(hash);
  out[bit >> 3] = (out[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return out;
}
