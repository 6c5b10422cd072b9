import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Bus } from '../../bus/index.ts';
import { TrainingError } from '../errors.ts';
import { serveWorker } from './training-worker.ts';
import type { FromThread, ToThread } from './worker-thread.ts';

/** Workers on threads of this process, which the bus sees as any others. `close` ends them. */
export async function startWorkerThreads(bus: Bus, count: number): Promise<{ close(): Promise<void> }> {
  const stops: (() => Promise<void>)[] = [];
  for (let i = 0; i < count; i++) stops.push(await startThread(bus, `thread-${i}`));
  return {
    close: async () => {
      for (const stop of stops) await stop();
    },
  };
}

async function startThread(bus: Bus, id: string): Promise<() => Promise<void>> {
  const thread = new Worker(new URL('./worker-thread.ts', import.meta.url));
  await once(thread, 'online');
  thread.unref();
  const waiting = new Map<number, { resolve(bytes: Uint8Array): void; reject(error: Error): void }>();
  let orders = 0;
  const say = (message: ToThread) => thread.postMessage(message);
  thread.on('message', (message: FromThread) => {
    if (message.kind === 'fetch') {
      const { fetch } = message;
      bus.getObject(message.object).then(
        (bytes) => say({ kind: 'rows', fetch, bytes }),
        (error: unknown) => say({ kind: 'rows', fetch, error: String(error) }),
      );
      return;
    }
    const found = waiting.get(message.order);
    waiting.delete(message.order);
    if (message.bytes !== undefined) found?.resolve(message.bytes);
    else found?.reject(new TrainingError('training.message-refused', message.error ?? 'no answer'));
  });
  const stop = await serveWorker(
    bus,
    (bytes) => {
      const order = ++orders;
      say({ kind: 'order', order, bytes });
      return new Promise((resolve, reject) => waiting.set(order, { resolve, reject }));
    },
    { id },
  );
  // A thread that died is a worker without a responder: its shards go to the others.
  thread.on('exit', () => {
    for (const { reject } of waiting.values())
      reject(new TrainingError('training.lease-lost', `${id} ended`));
    void stop();
  });
  return async () => {
    await stop();
    await thread.terminate();
  };
}
