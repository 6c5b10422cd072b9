import type { Milliseconds } from '../../base/index.ts';
import type { ScoreBatchBuffers } from '../../models/index.ts';
import type { Priority } from '../admission/refusal.ts';
import type { ServedModel } from '../served-model.ts';

/** Room for one batch, elsewhere. Whoever took it fills `values`, has it run, reads `out`, and releases it. */
export interface PoolSeat {
  /** Float32Array, row-major; wiped once scored. */
  readonly values: Float32Array;
  readonly out: ScoreBatchBuffers;
}

/** What those who wait for a batch ask of it. */
export interface BatchTerms {
  /** The latest of theirs, by the monotonic clock. */
  readonly deadline: Milliseconds;
  readonly priority: Priority;
}

/** Whatever scores batches elsewhere: the threads of this process, or workers over the bus. */
export interface BatchPool {
  /** There and back, without the scoring. */
  readonly hopMs: Milliseconds;
  /** Batches that it takes at once. */
  readonly width: number;
  /** Starts what has to be started, at the first call. Never rejects. */
  start(): Promise<void>;
  /** Whether it can score by this model, now or once something is free. */
  has(served: ServedModel): boolean;
  /** Whether a seat for this model is free. */
  isFree(served: ServedModel): boolean;
  /** A free seat; the caller's until it is released. */
  take(served: ServedModel): PoolSeat | undefined;
  release(seat: PoolSeat): void;
  /**
   * Scores `rows` rows of `values`. Gives what such a batch takes, where that is another time than this one took: what was lost with
   * a worker says nothing of the next. Rejects `inference.model-failed`, `inference.worker-lost`.
   */
  run(
    seat: PoolSeat,
    served: ServedModel,
    rows: number,
    terms: BatchTerms,
  ): Promise<Milliseconds | undefined>;
  /** Nobody waits for what the seat scores, and it does not come back. */
  end(seat: PoolSeat): void;
}
