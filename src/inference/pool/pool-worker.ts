import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { GuardianError } from '../../base/index.ts';
import type { DetectionModel, ScoreBatchBuffers } from '../../models/index.ts';
import { verifyInThread } from '../../registry/index.ts';
import {
  CONTROL,
  ORDERS,
  type PoolWorkerData,
  type SlotBuffers,
  type ThreadAnswer,
  type ThreadOrder,
} from './messages.ts';

/**
 * A thread that scores: sleeps on the control block, carries out one order at a time, and says so through its port. It keeps the
 * priority of the process: one batch may hold live and batch rows, and batch work gives way in the queue instead.
 */

const { control: buffer, orders } = workerData as PoolWorkerData;
const control = new Int32Array(buffer);
const models = new Map<number, DetectionModel>();
const DONE: ThreadAnswer = {};
let values: Float32Array = new Float32Array(0);
let out: ScoreBatchBuffers = { probability: new Float32Array(0), kind: new Int16Array(0) };

for (let turn = 0; ; turn++) {
  Atomics.wait(control, CONTROL.turn, turn);
  let answer = DONE;
  try {
    const order = control[CONTROL.order];
    if (order === ORDERS.run) run(control[CONTROL.model] as number, control[CONTROL.rows] as number);
    else if (order === ORDERS.read) await carryOut(receiveMessageOnPort(orders)?.message as ThreadOrder);
  } catch (error) {
    answer = { failed: error instanceof GuardianError ? error.code : 'no code' };
  }
  parentPort?.postMessage(answer);
}

function run(id: number, rows: number): void {
  const model = models.get(id) as DetectionModel;
  const size = rows * model.columnNames.length;
  try {
    model.score(values, rows, out);
  } finally {
    values.fill(0, 0, size);
  }
}

async function carryOut(order: ThreadOrder): Promise<void> {
  if (order.do === 'slot') return useSlot(order.slot);
  if (order.do === 'unload') {
    models.delete(order.model);
    return;
  }
  const { model } = await verifyInThread(order.evidence);
  const { operatingPoint } = order;
  const isOffered = model.operatingPoints?.some(({ name }) => name === operatingPoint);
  models.set(order.model, (operatingPoint !== undefined && isOffered && model.at?.(operatingPoint)) || model);
}

function useSlot(slot: SlotBuffers): void {
  values = new Float32Array(slot.values);
  out = { probability: new Float32Array(slot.probability), kind: new Int16Array(slot.kind) };
}
