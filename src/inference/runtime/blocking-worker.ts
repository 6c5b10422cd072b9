import { parentPort, workerData } from 'node:worker_threads';
import { GuardianError } from '../../base/index.ts';
import { GraphModel, type GraphModelParts } from '../../models/index.ts';
import type { RuntimeConfig } from './config.ts';
import { GraphRuntime } from './graph-runtime.ts';

/** What the thread is started with: the graph, and what it shares with whoever sleeps until it answers. */
export interface BlockingWorkerData {
  readonly parts: GraphModelParts;
  readonly config: RuntimeConfig;
  readonly batchRows: number;
  /** Int32Array of one word: 0 while it computes, 1 done, 2 failed. */
  readonly state: SharedArrayBuffer;
  /** Float32Array, row-major batchRows x columns. */
  readonly values: SharedArrayBuffer;
  /** Float32Array, batchRows. */
  readonly probability: SharedArrayBuffer;
}

/** A thread that waits for the process of a graph, so that its caller need not have an event loop. */
const data = workerData as BlockingWorkerData;
const state = new Int32Array(data.state);
const values = new Float32Array(data.values);
const out = {
  probability: new Float32Array(data.probability),
  kind: new Int16Array(data.batchRows),
};

try {
  const { config, batchRows } = data;
  const runtime = await GraphRuntime.open(new GraphModel(data.parts), { config, batchRows });
  parentPort?.on('message', (rows: number) => {
    // Wiped before the answer: after it the caller writes the next rows there.
    runtime
      .score(values, rows, out)
      .finally(() => values.fill(0))
      .then(
        () => answer(1),
        () => answer(2),
      );
  });
  parentPort?.postMessage({});
} catch (error) {
  const { code, message } = error as { code?: unknown; message?: unknown };
  parentPort?.postMessage(error instanceof GuardianError ? { code, message } : { message: 'no code' });
}

function answer(how: number): void {
  Atomics.store(state, 0, how);
  Atomics.notify(state, 0);
}
