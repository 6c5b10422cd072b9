import type { Milliseconds } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import type { Priority } from '../admission/refusal.ts';
import type { ColumnArrays } from '../score-columns.ts';
import type { ServedModel } from '../served-model.ts';
import type { Batchable } from './deadline-batcher.ts';

/** Rows [from, from + rows) of a request, on their way. */
export interface Slice extends Batchable {
  readonly served: ServedModel;
  /** Its values are the caller's, who may change them once the slice is gone. */
  readonly batch: FeatureBatch;
  readonly from: number;
  readonly rows: number;
  /** Of the whole request. */
  readonly out: ColumnArrays;
  readonly confidenceThreshold: number;
  readonly priority: Priority;
  readonly owner: SliceOwner;
  isGone: boolean;
  isAlone: boolean;
  /** Times that it began. */
  attempts: number;
  /** When its scoring began; NaN before that. */
  began: Milliseconds;
  /** Of the batch it runs in. */
  running: RunningBatch | undefined;
}

/** What a slice's request is told, once for each slice that is not gone. */
export interface SliceOwner {
  /** Scored and decided. */
  scored(slice: Slice, took: Milliseconds): void;
  /** Its deadline passed while it waited. */
  late(slice: Slice): void;
  failed(slice: Slice, took: Milliseconds, error: unknown): void;
}

/** A batch that is being scored elsewhere. */
export interface RunningBatch {
  /** Nobody waits for one of its slices any longer. */
  abandoned(): void;
}
