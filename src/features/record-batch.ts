import { FLOW_NUMBER_INDEX, FlowBatch, type FlowRecord } from '../traffic/index.ts';

/**
 * Puts records into a batch, which is used again for the next ones. A record whose numbers are none, or that is of
 * another source kind than the first, becomes a row without a start, which no extractor takes.
 */
export class RecordBatch {
  #batch: FlowBatch | undefined;

  /** Undefined where there are no records. */
  from(records: readonly FlowRecord[]): FlowBatch | undefined {
    const [first] = records;
    if (first === undefined) return undefined;
    let batch = this.#batch;
    if (batch === undefined || batch.sourceKind !== first.sourceKind || batch.capacity < records.length) {
      batch = new FlowBatch(first.sourceKind, Math.max(64, records.length));
      this.#batch = batch;
    }
    batch.clear();
    for (const record of records) {
      if (isSound(record) && record.sourceKind === batch.sourceKind) batch.append(record);
      else batch.numbers[FLOW_NUMBER_INDEX.start_ms * batch.capacity + batch.rows++] = Number.NaN;
    }
    return batch;
  }
}

function isSound({ startMs, endMs, protocol, sourcePort, destinationPort }: FlowRecord): boolean {
  return (
    Number.isFinite(startMs) &&
    Number.isFinite(endMs) &&
    isWhole(protocol, 255) &&
    isWhole(sourcePort, 65_535) &&
    isWhole(destinationPort, 65_535)
  );
}

function isWhole(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}
