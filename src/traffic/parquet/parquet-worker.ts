import { parentPort, workerData } from 'node:worker_threads';
import { TrafficError } from '../errors.ts';
import { ParquetDecoder } from './parquet-decoder.ts';
import type { ParquetLimits } from './parquet-limits.ts';

/** What the worker is started with. */
export interface ParquetTask {
  readonly path: string;
  /** Of the file, where they are at hand. */
  readonly bytes: Uint8Array | undefined;
  readonly limits: Partial<ParquetLimits>;
}

export interface ParquetRequest {
  readonly group: number;
  readonly names: readonly string[];
}

const { path, bytes, limits } = workerData as ParquetTask;

await answer(async () => {
  const decoder =
    bytes === undefined
      ? await ParquetDecoder.open(path, limits)
      : await ParquetDecoder.of(bytes, path, limits);
  parentPort?.on('message', ({ group, names }: ParquetRequest) => {
    void answer(() => decoder.group(group, names));
  });
  return { columns: decoder.columns, rows: decoder.rows, groups: decoder.groups };
});

async function answer(work: () => Promise<unknown>): Promise<void> {
  try {
    parentPort?.postMessage({ value: await work() });
  } catch (error) {
    const code = error instanceof TrafficError ? error.code : 'traffic.parquet-malformed';
    parentPort?.postMessage({ code, message: error instanceof Error ? error.message : String(error) });
  }
}
