import type { AggregationProgress } from '../boosting.ts';
import type { Notice, Question } from './operation.ts';
import type { WireTree } from './wire-tree.ts';

/** How the answers of all who hold rows become one sum. */
export interface Summation {
  /** A round of boosting begins, at the margins of these trees. */
  startRound(round: number, trees: readonly WireTree[]): Promise<void>;
  /** Nobody answers: it is done before the next question. */
  tell(notice: Notice): void;
  /**
   * The answers added up modulo 2^32; Int32Array of `length`, the caller's. Undefined where those who answered this tree's first
   * question cannot all answer any more: the tree ends.
   */
  ask(question: Question, length: number): Promise<Int32Array | undefined>;
  progress(): AggregationProgress;
}
