import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { DetectionStore } from '../../src/alerts/index.ts';
import { Metrics, silentLogger, systemClock } from '../../src/base/index.ts';
import type { Bus } from '../../src/bus/index.ts';
import { type FeatureBatch, type LoadedSchema, loadSchema } from '../../src/features/index.ts';
import { EventQueue, EventWorker, type EventWorkerParts } from '../../src/guardian/index.ts';
import type { Score } from '../../src/models/index.ts';
import { createPolicy, Guardrails, responseConfigSchema } from '../../src/response/index.ts';
import { type Database, openDatabase } from '../../src/storage/index.ts';
import { FlowBatch } from '../../src/traffic/index.ts';
import { sentFlow } from './served-guardian.ts';

export const MODEL = 'flow';
export const SUBMITTER = { model: MODEL, principal: 'sensor' };
/** Short, so that a takeover takes a second. */
export const BRISK = { leaseMs: 400, ackWaitMs: 600, retryMs: 50 };

/** The owner's side of the queue over a database of its own, without what else a guardian has. */
export interface QueueOwner {
  readonly queue: EventQueue;
  readonly store: DetectionStore;
  readonly db: Database;
  readonly metrics: Metrics;
  close(): Promise<void>;
}

export async function openQueueOwner(
  folder: string,
  open: () => Promise<Bus>,
  options: {
    readonly partitions?: number;
    readonly wrap?: (db: Database) => Database;
    readonly guardrails?: Pick<Guardrails, 'judge'>;
  } = {},
): Promise<QueueOwner> {
  mkdirSync(folder, { recursive: true });
  const opened = await openDatabase(join(folder, 'guardian.db'));
  const db = options.wrap?.(opened) ?? opened;
  const metrics = new Metrics();
  const store = new DetectionStore({
    ...{ queries: db.detections, results: db.eventResults, clock: systemClock },
    config: { minFlows: { 'port-scan': 1 } },
  });
  const queue = new EventQueue({
    ...{ database: db, detections: store, metrics, clock: systemClock, logger: silentLogger },
    guardrails: options.guardrails ?? new Guardrails(createPolicy(responseConfigSchema.parse({}))),
    config: { partitions: options.partitions ?? 4, keepResultsDays: 7 },
  });
  await queue.join(open);
  return {
    ...{ queue, store, db, metrics },
    close: async () => {
      await queue.close();
      store.close();
      await db.close();
    },
  };
}

/** Flows of flow-core, scored by a rule: more than twenty packets sent are an attack. */
export async function queueWorker(
  bus: Bus,
  id: string,
  parts: Partial<EventWorkerParts> = {},
): Promise<EventWorker> {
  const schema = await loadSchema('flow-core');
  const worker = new EventWorker({
    ...{ bus, id, engine: ruleEngine(schema), schemaOf: (model) => (model === MODEL ? schema : undefined) },
    ...parts,
    options: { ...BRISK, ...parts.options },
  });
  worker.start();
  return worker;
}

export function ruleEngine({ schema }: LoadedSchema): EventWorkerParts['engine'] {
  const column = schema.columns.findIndex(({ name }) => name === 'forward_packets');
  return {
    score: async ({ values, rows, columns }: FeatureBatch) =>
      Array.from({ length: rows }, (_, row): Score => {
        const isAttack = (values[row * columns + column] as number) > Math.log1p(20);
        return {
          ...{ probability: isAttack ? 0.9 : 0.1, confidence: 0.9, certificate: 'active' },
          verdict: isAttack ? 'attack' : 'benign',
          ...(isAttack && { kind: 'port-scan' }),
          model: { name: MODEL, version: '1.0.0', digest: `sha256:${'0'.repeat(64)}` },
        };
      }),
  };
}

/** Flows of one event, so many of them attacks by one source. */
export function flowsOf(attacks: number, benign = 1, source = '198.51.100.7'): FlowBatch {
  const flow = (packets: number) =>
    ({
      ...sentFlow({ sourceAddress: source }),
      forward: { packets, bytes: 60 * packets, payloadBytes: 0, tcpFlags: 2 },
      backward: { packets: 1, bytes: 60, payloadBytes: 0, tcpFlags: 18 },
    }) as never;
  const packets = [...new Array<number>(attacks).fill(100), ...new Array<number>(benign).fill(3)];
  return FlowBatch.from(packets.map(flow), 'packets');
}

/** Asks until it is so; the runner's limit ends a test whose time never comes. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await wait(5);
}

/** Flows that all detections of a stream of attacks count, once their findings are closed. */
export async function countedFlows({ store }: QueueOwner): Promise<number> {
  await store.finish();
  const all = await store.list({ limit: 10_000 });
  return all.reduce((sum, { flows }) => sum + flows, 0);
}
