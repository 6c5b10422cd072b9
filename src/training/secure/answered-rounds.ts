import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { TrainingError } from '../errors.ts';
import type { AggregationId } from './messages.ts';

/** Rounds of one coordinator in one tree: those of a successor come after. */
export const COORDINATOR_ROUNDS = 4096;

const answeredSchema = z.strictObject({
  v: z.literal(1),
  /** What the run is about, once it was told. */
  plan: z.strictObject({ digest: z.string(), firstRow: z.int().min(0) }).optional(),
  /** The newest coordinator that was answered: its rounds may all have been. */
  epoch: z.int().min(-1),
  /** Groups whose sums were opened, each with the trees they are about. */
  opened: z.array(z.strictObject({ group: z.array(z.string()), trees: z.array(z.int().min(0)) })),
});

/** What a member must not forget, as it is kept. */
export type AnsweredState = z.output<typeof answeredSchema>;

/** Writes a state down; durable when resolved. A member answers nothing that it could not write down. */
export type SaveAnswered = (state: AnsweredState) => Promise<void>;

/**
 * What a member has answered in a run: it answers an id once, and opens no two sums of one tree whose groups differ by few or cross. With
 * `save` that holds for a member that was ended and started again too: the state is written before the answer goes out,
 * and a member that starts from it answers only coordinators that come after those it knows. Ids are ordered by coordinator,
 * tree, round and attempt: a successor goes back to the tree that was not finished.
 */
export class AnsweredRounds {
  readonly #save: SaveAnswered | undefined;
  /** The newest id that was begun; older ones are not answered. */
  #last: AggregationId | undefined;
  /** Coordinators up to this one were answered before this member was started. */
  readonly #past: number;
  #state: AnsweredState;
  /** Groups of each tree; `state` has the same by group. */
  readonly #groups = new Map<number, ReadonlySet<string>[]>();

  /** `state`: what an earlier life of this member wrote down. */
  constructor({ state, save }: { readonly state?: AnsweredState; readonly save?: SaveAnswered } = {}) {
    this.#save = save;
    this.#state = state ?? { v: 1, epoch: -1, opened: [] };
    this.#past = this.#state.epoch;
    for (const { group, trees } of this.#state.opened) {
      const members = new Set(group);
      for (const tree of trees) this.#remember(tree, members);
    }
  }

  /** Whether the id comes after all that were begun. */
  isNew(id: AggregationId): boolean {
    return epochOf(id) > this.#past && (this.#last === undefined || isLater(id, this.#last));
  }

  /** The id is answered from now on. */
  async begin(id: AggregationId): Promise<void> {
    this.#last = { ...id };
    if (epochOf(id) > this.#state.epoch) await this.#write({ ...this.#state, epoch: epochOf(id) });
  }

  /**
   * Members by which the group differs from the nearest other one of the same tree that was opened; 0 where it crosses one. Groups
   * within one another part their members into sets as large as their distances, and no sums put together tell less than such
   * a set; groups that cross could, three or more together, show one member though each two are far apart.
   */
  distance(tree: number, group: ReadonlySet<string>): number {
    let least = Number.POSITIVE_INFINITY;
    for (const earlier of this.#groups.get(tree) ?? []) {
      const size = earlier.symmetricDifference(group).size;
      if (size === 0) continue;
      least = earlier.isSubsetOf(group) || group.isSubsetOf(earlier) ? Math.min(least, size) : 0;
      if (least === 0) break;
    }
    return least;
  }

  /** A sum of the group is opened from now on. */
  async open(tree: number, group: ReadonlySet<string>): Promise<void> {
    if (this.#groups.get(tree)?.some((earlier) => earlier.symmetricDifference(group).size === 0)) return;
    const names = [...group].sort();
    const known = this.#state.opened.findIndex((each) => each.group.join() === names.join());
    const opened = [...this.#state.opened];
    if (known === -1) opened.push({ group: names, trees: [tree] });
    else opened[known] = { group: names, trees: [...(opened[known]?.trees ?? []), tree] };
    await this.#write({ ...this.#state, opened });
    this.#remember(tree, group);
  }

  /** Whether the run is about this plan, which is kept from now on. */
  async holdTo(digest: Digest, firstRow: number): Promise<boolean> {
    const { plan } = this.#state;
    if (plan !== undefined) return plan.digest === digest && plan.firstRow === firstRow;
    await this.#write({ ...this.#state, plan: { digest, firstRow } });
    return true;
  }

  #remember(tree: number, group: ReadonlySet<string>): void {
    const groups = this.#groups.get(tree);
    if (groups === undefined) this.#groups.set(tree, [group]);
    else groups.push(group);
  }

  async #write(state: AnsweredState): Promise<void> {
    await this.#save?.(state);
    this.#state = state;
  }
}

/** Bytes of a state. */
export function encodeAnswered(state: AnsweredState): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(state));
}

/** Throws `training.answered-unreadable`: who cannot tell what it answered answers nothing. */
export function decodeAnswered(bytes: Uint8Array): AnsweredState {
  try {
    return answeredSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new TrainingError(
      'training.answered-unreadable',
      'expected what this member has answered in the run, got something else',
      { cause },
    );
  }
}

/** Which coordinator of a run asks. */
function epochOf({ round }: AggregationId): number {
  return Math.floor(round / COORDINATOR_ROUNDS);
}

/** Whether an id comes after another in the order coordinator, tree, round, attempt. */
function isLater(a: AggregationId, b: AggregationId): boolean {
  if (epochOf(a) !== epochOf(b)) return epochOf(a) > epochOf(b);
  if (a.tree !== b.tree) return a.tree > b.tree;
  if (a.round !== b.round) return a.round > b.round;
  return a.attempt > b.attempt;
}
