import type { DetectionModel, ScoreBatchBuffers } from '../models/index.ts';

/**
 * What computes a model's probabilities: the model itself on this thread, or something that answers later, such as a
 * process of its own. One batch at a time: the engine waits for an answer before it asks again.
 */
export interface ModelRuntime {
  /** `inline` answers at once and never gives a promise. */
  readonly kind: 'inline' | 'asynchronous';
  /**
   * Values: Float32Array, row-major rows x columns, only read, and not after the answer. Writes probability and kind of each
   * row to `out`. The signal withdraws the batch; what it has written then is of no use. Throws or rejects where the model
   * fails, and then nothing in `out` counts.
   */
  score(
    values: Float32Array,
    rows: number,
    out: ScoreBatchBuffers,
    signal?: AbortSignal,
  ): void | Promise<void>;
  /** Called once, when no request can reach the model any longer. */
  close?(): Promise<void>;
}

/** The model on this thread. */
export function inlineRuntime(model: DetectionModel): ModelRuntime {
  return { kind: 'inline', score: (values, rows, out) => model.score(values, rows, out) };
}
