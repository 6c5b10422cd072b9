import { ModelError } from '../errors.ts';
import { BITSET_WORDS, CATEGORICAL, MISSING_LEFT, type TreeEnsemble } from '../tree-ensemble.ts';

/** Trees that somebody else trained, in our form. */
export interface ImportedTrees {
  readonly ensemble: TreeEnsemble;
  readonly bias: number;
  /** Columns of a row. */
  readonly columns: number;
  /** For each column the categories its splits name, 0 for a number. */
  readonly categories: readonly number[];
  /** Whether the margin is a log-odds, or already a probability. */
  readonly link: 'logistic' | 'identity';
}

/** Nodes of imported trees at most; a file is from outside. */
export const MAX_IMPORTED_NODES = 4_000_000;

/** A node as the readers of other formats hand it over. */
export type ForeignNode =
  | { readonly kind: 'leaf'; readonly value: number }
  | {
      readonly kind: 'number';
      readonly column: number;
      /** `x <= threshold` goes to `yes`; of any precision. */
      readonly threshold: number;
      readonly yes: number;
      readonly no: number;
      readonly missing: 'yes' | 'no';
    }
  | {
      readonly kind: 'category';
      readonly column: number;
      /** These go to `yes`. */
      readonly members: readonly number[];
      readonly yes: number;
      readonly no: number;
      readonly missing: 'yes' | 'no';
    };

/** Collects trees node by node into the flat arrays of an ensemble. */
export class EnsembleBuilder {
  readonly #roots: number[] = [];
  readonly #child: number[] = [];
  readonly #feature: number[] = [];
  readonly #value: number[] = [];
  readonly #flags: number[] = [];
  readonly #block: number[] = [];
  readonly #bitsets: number[] = [];
  readonly #categories: number[];

  constructor(columns: number) {
    this.#categories = new Array<number>(columns).fill(0);
  }

  /** Adds a tree, whose nodes are looked up by number from `root` on. Throws `models.malformed` where they circle. */
  addTree(root: number, nodeOf: (id: number) => ForeignNode | undefined): void {
    const seen = new Set<number>();
    const start = this.#child.length;
    this.#roots.push(start);
    this.#append();
    const open = [{ id: root, at: start }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { id, at } = next;
      const node = nodeOf(id);
      if (node === undefined) refuse(`a tree names node ${id}, which is missing`);
      if (seen.has(id)) refuse(`node ${id} has two parents`);
      seen.add(id);
      if (node.kind === 'leaf') {
        this.#value[at] = finite(node.value);
        continue;
      }
      this.#split(at, node);
      const left = this.#child.length;
      this.#child[at] = left;
      this.#append();
      this.#append();
      open.push({ id: node.no, at: left + 1 }, { id: node.yes, at: left });
    }
  }

  finish(bias: number, link: ImportedTrees['link']): ImportedTrees {
    const nodes = this.#child.length;
    return {
      bias: finite(bias),
      link,
      columns: this.#categories.length,
      categories: this.#categories,
      ensemble: {
        roots: Uint32Array.from(this.#roots),
        child: Uint32Array.from(this.#child),
        feature: Uint16Array.from(this.#feature),
        value: Float32Array.from(this.#value),
        flags: Uint8Array.from(this.#flags),
        block: Uint32Array.from(this.#block),
        // Nobody told how many rows went where: explanations weigh children alike.
        cover: new Uint32Array(nodes).fill(1),
        bitsets: Uint32Array.from(this.#bitsets),
      },
    };
  }

  #split(at: number, node: Exclude<ForeignNode, { kind: 'leaf' }>): void {
    if (!(Number.isInteger(node.column) && node.column >= 0 && node.column < this.#categories.length)) {
      refuse(`a split tests column ${node.column}`);
    }
    this.#feature[at] = node.column;
    this.#flags[at] = node.missing === 'yes' ? MISSING_LEFT : 0;
    if (node.kind === 'number') {
      this.#value[at] = floorToFloat32(finite(node.threshold));
      return;
    }
    this.#flags[at]! |= CATEGORICAL;
    this.#block[at] = this.#bitsets.length / BITSET_WORDS;
    const words = new Array<number>(BITSET_WORDS).fill(0);
    for (const member of node.members) {
      if (!(Number.isInteger(member) && member >= 0 && member < 256))
        refuse(`a split names category ${member}`);
      words[member >> 5]! |= 1 << (member & 31);
      if (member >= (this.#categories[node.column] as number)) this.#categories[node.column] = member + 1;
    }
    this.#bitsets.push(...words.map((word) => word >>> 0));
  }

  #append(): void {
    if (this.#child.length >= MAX_IMPORTED_NODES) refuse(`it has more than ${MAX_IMPORTED_NODES} nodes`);
    this.#child.push(0);
    this.#feature.push(0);
    this.#value.push(0);
    this.#flags.push(0);
    this.#block.push(0);
  }
}

/**
 * The largest float32 that is not above `x`: for every float32 value v, `v <= x` is `v <= floorToFloat32(x)`. Rounding
 * to nearest would send rows at the edge the other way.
 */
export function floorToFloat32(x: number): number {
  const rounded = Math.fround(x);
  return rounded <= x ? rounded : belowFloat32(rounded);
}

/** The next float32 below: `v < x` is `v <= belowFloat32(x)` for a float32 x. */
export function belowFloat32(x: number): number {
  const word = new Int32Array(Float32Array.of(x).buffer);
  if (x === 0) return -1.401298464324817e-45;
  word[0]! += x > 0 ? -1 : 1;
  return new Float32Array(word.buffer)[0] as number;
}

function finite(x: number): number {
  return Number.isFinite(x) ? x : refuse(`it holds the number ${x}`);
}

function refuse(why: string): never {
  throw new ModelError('models.malformed', `the trees are not well formed: ${why}`);
}
