import type { Bus } from '../../src/bus/index.ts';
import { serveWorker, TrainingWorker } from '../../src/training/distributed/training-worker.ts';

/** Workers of this process on a bus. */
export interface WorkerHouse {
  readonly ids: readonly string[];
  /** Ends a worker as a crash would: its heartbeat stops, and nobody answers. */
  kill(id: string): Promise<void>;
  add(id: string): Promise<void>;
  close(): Promise<void>;
}

export async function startWorkers(
  bus: Bus,
  count: number,
  options: {
    /** Called before a worker answers its n-th order, counted from 1. */
    readonly onOrder?: (id: string, order: number, house: WorkerHouse) => Promise<void>;
    readonly beatMs?: number;
  } = {},
): Promise<WorkerHouse> {
  const running = new Map<string, { readonly worker: TrainingWorker; readonly stop: () => Promise<void> }>();
  const house: WorkerHouse = {
    ids: Array.from({ length: count }, (_, i) => `w${i}`),
    add: async (id) => {
      const worker = new TrainingWorker((object) => bus.getObject(object));
      let orders = 0;
      const handle = async (request: Uint8Array) => {
        orders++;
        await options.onOrder?.(id, orders, house);
        if (!running.has(id)) return await new Promise<never>(() => {});
        return await worker.handle(request);
      };
      running.set(id, { worker, stop: async () => {} });
      const stop = await serveWorker(bus, handle, { id, beatMs: options.beatMs ?? 50 });
      running.set(id, { worker, stop });
    },
    kill: async (id) => {
      const found = running.get(id);
      running.delete(id);
      await found?.stop();
    },
    close: async () => {
      for (const { worker, stop } of running.values()) {
        await stop();
        await worker.close();
      }
    },
  };
  for (const id of house.ids) await house.add(id);
  return house;
}
