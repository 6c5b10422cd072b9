import type { SourceCounters, SourceKind } from './flow.ts';
import type { FlowBatch } from './flow-batch.ts';

/** Something that yields flows: a capture that is metered, or a file of flows. Read once. */
export interface FlowSource {
  readonly kind: SourceKind;
  readonly counters: SourceCounters;
  /** Whether it goes on until it is stopped, and is whole then. */
  readonly isEndless?: boolean;
  /**
   * Flows in order of their end, at least one a batch, each batch of one source kind. A batch is the source's own: it
   * may be filled anew when the next one is asked for. When `signal` aborts, reading stops and the flows that are
   * still open are handed out as if the source had ended there.
   */
  batches(signal?: AbortSignal): AsyncIterable<FlowBatch>;
}
