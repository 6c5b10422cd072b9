import type { Milliseconds } from '../../base/index.ts';

/** What a deadline queue holds. */
export interface Due {
  /** Monotonic. */
  readonly deadline: Milliseconds;
}

interface Entry<T> {
  readonly item: T;
  readonly order: number;
}

/** Earliest deadline first, then first come first: a binary heap. */
export class DeadlineQueue<T extends Due> {
  readonly #heap: Entry<T>[] = [];
  #next = 0;

  get size(): number {
    return this.#heap.length;
  }

  peek(): T | undefined {
    return this.#heap[0]?.item;
  }

  push(item: T): void {
    const heap = this.#heap;
    const entry = { item, order: this.#next++ };
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Entry<T>;
      if (!isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  /** Drops what does not match. O(n log n). */
  keep(matches: (item: T) => boolean): void {
    const kept = this.#heap.filter(({ item }) => matches(item)).sort((a, b) => (isBefore(a, b) ? -1 : 1));
    // What is sorted is a heap.
    for (const [i, entry] of kept.entries()) this.#heap[i] = entry;
    this.#heap.length = kept.length;
  }

  pop(): T | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first?.item;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Entry<T>)) child++;
      const below = heap[child] as Entry<T>;
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first.item;
  }
}

function isBefore<T extends Due>(a: Entry<T>, b: Entry<T>): boolean {
  return a.item.deadline < b.item.deadline || (a.item.deadline === b.item.deadline && a.order < b.order);
}
