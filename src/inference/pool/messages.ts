import type { MessagePort } from 'node:worker_threads';
import type { OperatingPointName } from '../../models/index.ts';
import type { ThreadEvidence } from '../../registry/index.ts';

/** Words of the control block. `turn` grows by one with each order; the thread sleeps on it. */
export const CONTROL = { turn: 0, order: 1, model: 2, rows: 3 } as const;
export const CONTROL_WORDS = 4;

/** What the thread is to do. `read`: an order with content lies in the port. `ping` is for the watch alone. */
export const ORDERS = { ping: 0, run: 1, read: 2 } as const;

/** An order that numbers cannot say. */
export type ThreadOrder =
  | {
      readonly do: 'load';
      readonly model: number;
      readonly evidence: ThreadEvidence;
      readonly operatingPoint: OperatingPointName | undefined;
    }
  | { readonly do: 'unload'; readonly model: number }
  | { readonly do: 'slot'; readonly slot: SlotBuffers };

/** What thread and caller share: one batch in, its results out. The thread wipes the input once it was scored. */
export interface SlotBuffers {
  readonly rows: number;
  /** Float32Array. */
  readonly values: SharedArrayBuffer;
  /** Float32Array, `rows`. */
  readonly probability: SharedArrayBuffer;
  /** Int16Array, `rows`. */
  readonly kind: SharedArrayBuffer;
}

/** What a thread is started with. */
export interface PoolWorkerData {
  /** Int32Array, CONTROL_WORDS. */
  readonly control: SharedArrayBuffer;
  readonly orders: MessagePort;
}

/** The answer to an order, in its turn: undefined where it was carried out, else what failed, by code. */
export interface ThreadAnswer {
  readonly failed?: string;
}
