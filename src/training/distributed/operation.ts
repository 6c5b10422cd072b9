import { z } from 'zod';
import type { LeafSplit } from '../histogram-source.ts';
import { packSides, sidesSchema, unpackSides, wireTreeSchema } from './wire-tree.ts';

const splitSchema = z.strictObject({
  leaf: z.int().min(0).max(1023),
  right: z.int().min(1).max(1023),
  feature: z.int().min(0).max(65_535),
  left: sidesSchema,
});

export const operationSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('start-round'), round: z.int().min(0).max(5000) }),
  z.strictObject({
    kind: z.literal('open-tree'),
    output: z.int().min(0).max(255),
    /** Columns whose sums are wanted, ascending. */
    features: z.array(z.int().min(0).max(65_535)).readonly(),
  }),
  z.strictObject({ kind: z.literal('divide'), splits: z.array(splitSchema).min(1).max(1023) }),
  z.strictObject({ kind: z.literal('close-tree'), splits: z.array(splitSchema).max(1023) }),
  z.strictObject({ kind: z.literal('add-leaves'), values: z.array(z.number()).min(1).max(1024) }),
  /** Adds a finished tree in place of the leaves of the one that was open. */
  z.strictObject({ kind: z.literal('add-tree'), tree: wireTreeSchema }),
  z.strictObject({ kind: z.literal('loss') }),
  /** Sums of a network's gradients over a batch, at these parameters: float32, little endian, in base64. */
  z.strictObject({
    kind: z.literal('gradients'),
    epoch: z.int().min(0).max(1_000_000),
    batch: z.int().min(0).max(0xffffffff),
    parameters: z.base64().max(2 ** 25),
  }),
]);

/** What the holders of rows are asked to do, each in the same order. */
export type Operation = z.output<typeof operationSchema>;

/** Operations that are answered by a vector; the others are only told. */
export type Question = Extract<
  Operation,
  { kind: 'open-tree' | 'divide' | 'close-tree' | 'loss' | 'gradients' }
>;
export type Notice = Exclude<Operation, Question>;

export function isQuestion(operation: Operation): operation is Question {
  return ['open-tree', 'divide', 'close-tree', 'loss', 'gradients'].includes(operation.kind);
}

export function wireSplits(splits: readonly LeafSplit[]) {
  return splits.map(({ leaf, right, feature, left }) => ({ leaf, right, feature, left: packSides(left) }));
}

export function leafSplits(splits: z.output<typeof splitSchema>[]): LeafSplit[] {
  return splits.map((split) => ({ ...split, left: unpackSides(split.left) }));
}
