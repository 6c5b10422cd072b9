import { parentPort } from 'node:worker_threads';
import { TrainingWorker } from './training-worker.ts';

/** What goes to a worker on a thread, and what comes back. */
export type ToThread =
  | { readonly kind: 'order'; readonly order: number; readonly bytes: Uint8Array }
  | { readonly kind: 'rows'; readonly fetch: number; readonly bytes?: Uint8Array; readonly error?: string };
export type FromThread =
  | { readonly kind: 'answer'; readonly order: number; readonly bytes?: Uint8Array; readonly error?: string }
  | { readonly kind: 'fetch'; readonly fetch: number; readonly object: string };

// A thread of `startWorkerThreads`; where there is no parent this file was loaded by mistake and does nothing.
const port = parentPort;
const waiting = new Map<number, { resolve(bytes: Uint8Array): void; reject(error: Error): void }>();
let fetches = 0;
const say = (message: FromThread) => port?.postMessage(message);
const worker = new TrainingWorker((object) => {
  const fetch = ++fetches;
  say({ kind: 'fetch', fetch, object });
  return new Promise((resolve, reject) => waiting.set(fetch, { resolve, reject }));
});

port?.on('message', (message: ToThread) => {
  if (message.kind === 'order') {
    const { order } = message;
    worker.handle(message.bytes).then(
      (bytes) => say({ kind: 'answer', order, bytes }),
      (error: unknown) =>
        say({ kind: 'answer', order, error: error instanceof Error ? error.message : 'unknown failure' }),
    );
    return;
  }
  const { bytes, error = 'no rows' } = message;
  const found = waiting.get(message.fetch);
  waiting.delete(message.fetch);
  if (bytes === undefined) found?.reject(new DOMException(error, 'NotFoundError'));
  else found?.resolve(bytes);
});
