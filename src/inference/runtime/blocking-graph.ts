import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Milliseconds } from '../../base/index.ts';
import { type DetectionModel, GraphModel, type ScoreBatchBuffers } from '../../models/index.ts';
import { InferenceError, type InferenceErrorCode } from '../errors.ts';
import type { BlockingWorkerData } from './blocking-worker.ts';
import type { RuntimeConfig } from './config.ts';

/** A model that may be scored like a native one, for as long as it is open. */
export interface RunnableModel {
  readonly model: DetectionModel;
  close(): Promise<void>;
}

/** A model as gates and certificates score it: a foreign graph by `openBlockingGraph`, any other one as it is. */
export function openRunnable(model: DetectionModel, config: RuntimeConfig): Promise<RunnableModel> {
  return model instanceof GraphModel
    ? openBlockingGraph(model, config)
    : Promise.resolve({ model, close: () => Promise.resolve() });
}

const BATCH_ROWS = 1_024;
/** Beyond the deadline of the process, for another one to start. */
const GRACE: Milliseconds = 5_000;

/**
 * A foreign graph for callers that score without waiting, as gates and certificates do: a thread waits for the process, and
 * the caller sleeps meanwhile. Never for live rows. Throws as `GraphRuntime.open`; its `score` throws `inference.model-failed`.
 */
export async function openBlockingGraph(graph: GraphModel, config: RuntimeConfig): Promise<RunnableModel> {
  const columns = graph.columnNames.length;
  const data: BlockingWorkerData = {
    ...{ parts: graph.parts, config, batchRows: BATCH_ROWS },
    state: new SharedArrayBuffer(4),
    values: new SharedArrayBuffer(BATCH_ROWS * columns * 4),
    probability: new SharedArrayBuffer(BATCH_ROWS * 4),
  };
  const isSource = import.meta.url.endsWith('.ts');
  const entry = new URL(isSource ? './blocking-worker.ts' : './blocking-worker.js', import.meta.url);
  const worker = new Worker(entry, { workerData: data });
  const close = async () => {
    await worker.terminate();
  };
  const ended = once(worker, 'exit').then(() => [{ message: 'its thread has ended' }]);
  const [said] = (await Promise.race([once(worker, 'message'), ended])) as [
    { code?: InferenceErrorCode; message?: string },
  ];
  if (said.message !== undefined) {
    await close();
    throw new InferenceError(said.code ?? 'inference.model-failed', said.message);
  }
  worker.unref();
  const state = new Int32Array(data.state);
  const values = new Float32Array(data.values);
  const given = new Float32Array(data.probability);

  let isSound = true;

  function scorePart(rows: number): void {
    // An answer that comes late must not be taken for the next one.
    if (!isSound)
      throw new InferenceError('inference.model-failed', 'the process of the graph failed before');
    Atomics.store(state, 0, 0);
    worker.postMessage(rows);
    Atomics.wait(state, 0, 0, config.deadlineMs + GRACE);
    isSound = Atomics.load(state, 0) === 1;
    if (!isSound) {
      throw new InferenceError('inference.model-failed', 'the process of the graph gave no answer');
    }
  }

  const { schemaId, columnNames, kinds, sourceKinds, threshold } = graph;
  const model: DetectionModel = {
    ...{ schemaId, columnNames, kinds, sourceKinds, threshold },
    explain: () => [],
    score: (rowValues: Float32Array, rows: number, out: ScoreBatchBuffers) => {
      for (let from = 0; from < rows; from += BATCH_ROWS) {
        const size = Math.min(BATCH_ROWS, rows - from);
        values.set(rowValues.subarray(from * columns, (from + size) * columns));
        scorePart(size);
        out.probability.set(given.subarray(0, size), from);
      }
      out.kind.fill(-1, 0, rows);
    },
  };
  return { model, close };
}
