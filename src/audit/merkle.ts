import { hash } from 'node:crypto';

/** Bytes of a hash. */
export const HASH_BYTES = 32;

const LEAF = Buffer.from([0]);
/** 0x01 || left || right, filled anew for each node: nothing awaits between filling and hashing. */
const NODE = Buffer.alloc(1 + 2 * HASH_BYTES, 1);

/** Leaf hash of RFC 6962 section 2.1: SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF, entry]), 'buffer');
}

/** Node hash of RFC 6962 section 2.1: SHA-256(0x01 || left || right), of two hashes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  NODE.set(left, 1);
  NODE.set(right, 1 + HASH_BYTES);
  return hash('sha256', NODE, 'buffer');
}

/** The root over a tile's hashes, which lie one after the other; their number is a power of two. */
export function perfectRoot(hashes: Buffer): Buffer {
  let level: Uint8Array = hashes;
  while (level.length > HASH_BYTES) {
    const above = Buffer.allocUnsafe(level.length / 2);
    for (let at = 0; at < level.length; at += 2 * HASH_BYTES) {
      NODE.set(level.subarray(at, at + 2 * HASH_BYTES), 1);
      above.set(hash('sha256', NODE, 'buffer'), at / 2);
    }
    level = above;
  }
  return Buffer.from(level);
}

/**
 * The roots of the perfect subtrees that make up a growing tree, the largest first. Appending costs one hash on
 * average, the root as many as there are subtrees; memory is log2 of the size.
 */
export class CompactRange {
  readonly #nodes: Buffer[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  append(leaf: Buffer): void {
    this.appendSubtree(leaf, 1);
  }

  /** Appends the root of a perfect subtree of `width` leaves, a power of two that divides the size. */
  appendSubtree(root: Buffer, width: number): void {
    let node = root;
    for (let n = this.#size / width; n % 2 === 1; n = (n - 1) / 2) node = nodeHash(this.#nodes.pop()!, node);
    this.#nodes.push(node);
    this.#size += width;
  }

  clone(): CompactRange {
    const copy = new CompactRange();
    copy.#nodes.push(...this.#nodes);
    copy.#size = this.#size;
    return copy;
  }

  /** The Merkle tree hash; of an empty tree the hash of nothing. */
  root(): Buffer {
    let node = this.#nodes.at(-1);
    if (node === undefined) return hash('sha256', '', 'buffer');
    for (let i = this.#nodes.length - 2; i >= 0; i--) node = nodeHash(this.#nodes[i]!, node);
    return node;
  }
}

/** The Merkle tree hash over leaf hashes, or over the roots of equal perfect subtrees. */
export function treeRoot(hashes: readonly Buffer[]): Buffer {
  const range = new CompactRange();
  for (const each of hashes) range.append(each);
  return range.root();
}

/** The largest power of two below n, n >= 2: where RFC 6962 splits a tree. */
export function splitPoint(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** Whether `hashes` lead from a leaf to the root. RFC 9162 section 2.1.3.2. */
export function verifyInclusion(proof: {
  readonly index: number;
  readonly size: number;
  readonly leaf: Buffer;
  readonly hashes: readonly Buffer[];
  readonly root: Buffer;
}): boolean {
  const { index, size, hashes, root } = proof;
  if (!isCount(index) || !isCount(size) || index >= size) return false;
  let at = index;
  let last = size - 1;
  let node = proof.leaf;
  for (const other of hashes) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      node = nodeHash(other, node);
      // The rightmost node of a ragged tree stands alone on some levels: skip them.
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      node = nodeHash(node, other);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && node.equals(root);
}

/** Whether the tree of size `to` begins with the tree of size `from`. RFC 9162 section 2.1.4.2. */
export function verifyConsistency(proof: {
  readonly from: number;
  readonly to: number;
  readonly fromRoot: Buffer;
  readonly toRoot: Buffer;
  readonly hashes: readonly Buffer[];
}): boolean {
  const { from, to, fromRoot, toRoot, hashes } = proof;
  if (!isCount(from) || !isCount(to) || from > to) return false;
  if (from === to) return hashes.length === 0 && fromRoot.equals(toRoot);
  // Every tree begins with the empty one.
  if (from === 0) return hashes.length === 0 && fromRoot.equals(new CompactRange().root());
  const isPerfect = from === 1 || splitPoint(from) * 2 === from;
  const [first, ...rest] = isPerfect ? [fromRoot, ...hashes] : hashes;
  if (first === undefined) return false;
  let at = from - 1;
  let last = to - 1;
  while (at % 2 === 1) [at, last] = [half(at), half(last)];
  let older = first;
  let newer = first;
  for (const other of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      older = nodeHash(other, older);
      newer = nodeHash(other, newer);
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      newer = nodeHash(newer, other);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && older.equals(fromRoot) && newer.equals(toRoot);
}

function half(n: number): number {
  return Math.floor(n / 2);
}

function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}
