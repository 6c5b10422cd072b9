import { parentPort, workerData } from 'node:worker_threads';
import { loadSchema } from '../features/index.ts';
import { type LabTableTask, labTable } from './demo-traffic.ts';

const { slice, schema, meter } = workerData as LabTableTask;
const table = await labTable(slice, await loadSchema(schema), {
  meter,
  signal: new AbortController().signal,
  onProgress: () => {},
});
// The arrays are handed over, not copied: a run of the lab is some ten megabytes.
parentPort?.postMessage(table, [table.values.buffer as ArrayBuffer]);
