import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { networkPlanSchema } from './network-shard.ts';
import { operationSchema } from './operation.ts';
import { planSchema } from './run-plan.ts';
import { wireTreeSchema } from './wire-tree.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/) as z.ZodType<Digest>;

const grantSchema = z.strictObject({
  shard: z.int().min(0).max(4095),
  /** Grows with every lease of the shard. */
  token: z.int().min(1),
  /** Where a lease begins: the sealed rows, as an object of the bus, their digest and their key. */
  rows: z
    .strictObject({ object: z.string().max(128), digest, key: z.string().regex(/^[A-Za-z0-9+/]{43}=$/) })
    .optional(),
  operations: z.array(operationSchema).max(4096),
});

/** What a coordinator asks of a worker. The last operation of each grant is the question, one and the same for all. */
export const workOrderSchema = z.strictObject({
  v: z.literal(1),
  run: z.string().max(48),
  /** Token of the coordinator's lease. */
  epoch: z.int().min(1),
  /** With grants that begin. */
  plan: z.union([planSchema, networkPlanSchema]).optional(),
  /** Trees at the beginning of the round, with grants that begin. */
  trees: z.array(wireTreeSchema).max(1_000_000).optional(),
  grants: z.array(grantSchema).max(4096),
  /** Shards that were leased to others. */
  drop: z.array(z.int()).max(4096),
  /** The run is over: everything is let go. */
  end: z.boolean(),
});

export type WorkOrder = z.output<typeof workOrderSchema>;
/** What a run's shards are of: rows that trees grow on, or points of a network. */
export type WorkPlan = NonNullable<WorkOrder['plan']>;
export type Grant = WorkOrder['grants'][number];

/** Head of the answer; the body is the sum over the granted shards. */
export const workAnswerSchema = z.strictObject({
  v: z.literal(1),
  epoch: z.int(),
  tokens: z.array(z.tuple([z.int(), z.int()])),
});

/** What sealed rows are bound to. */
export function shardContext(run: string, shard: number, rows: Digest): Uint8Array {
  return new TextEncoder().encode(`guardian-shard-v1\n${run}\n${shard}\n${rows}`);
}
