import { z } from 'zod';
import type { Digest } from '../../base/index.ts';
import { canonicalJson, sha256 } from '../../crypto/index.ts';
import type { AggregationId, Phase, Signed } from '../secure/messages.ts';
import { operationSchema } from './operation.ts';
import { planSchema } from './run-plan.ts';
import { wireTreeSchema } from './wire-tree.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/) as z.ZodType<Digest>;

/** What members of a secure run are asked beside what workers are. */
const memberOperationSchema = z.union([
  operationSchema,
  /** The weight of each class. */
  z.strictObject({ kind: z.literal('labels') }),
  /** The first notice of every coordinator: margins begin at these trees. */
  z.strictObject({
    kind: z.literal('begin'),
    bias: z.array(z.number()),
    trees: z.array(wireTreeSchema).max(1_000_000),
  }),
]);
export type MemberOperation = z.output<typeof memberOperationSchema>;

const idSchema = z.strictObject({
  run: z.string().max(128),
  tree: z.int().min(0),
  round: z.int().min(0),
  attempt: z.int().min(0),
  question: digest,
}) satisfies z.ZodType<AggregationId>;

// What members signed is checked by `verifyMessage`, to the last field.
const messagesSchema = <P extends Phase>() => z.array(z.custom<Signed<P>>()).max(255);

export const memberRequestSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('hello') }),
  z.strictObject({ kind: z.literal('open'), plan: planSchema, firstRow: z.int().min(0).max(0xffffffff) }),
  z.strictObject({
    kind: z.literal('advert'),
    id: idSchema,
    /** History before these operations; the last one is the question. */
    before: digest,
    operations: z.array(memberOperationSchema).min(1).max(64),
  }),
  z.strictObject({ kind: z.literal('shares'), id: idSchema, messages: messagesSchema<'advert'>() }),
  z.strictObject({ kind: z.literal('masked'), id: idSchema, messages: messagesSchema<'shares'>() }),
  z.strictObject({ kind: z.literal('agreement'), id: idSchema, messages: messagesSchema<'masked'>() }),
  z.strictObject({ kind: z.literal('reveal'), id: idSchema, messages: messagesSchema<'agreement'>() }),
  /** A further sum of the group of the last one: asked and answered at once. */
  z.strictObject({
    kind: z.literal('chained'),
    id: idSchema,
    before: digest,
    operations: z.array(memberOperationSchema).min(1).max(64),
  }),
  z.strictObject({ kind: z.literal('end') }),
]);
export type MemberRequest = z.output<typeof memberRequestSchema>;

export const helloSchema = z.strictObject({ rows: z.int().min(0).max(0xffffffff) });

export function memberSubject(run: string, id: string): string {
  return `train.member.${run}.${id}`;
}

/**
 * Names all that was asked since a coordinator began, so that members who were asked other things notice: it is part of the
 * id that they sign. A coordinator's first operation begins a new history from the plan.
 */
export function extendHistory(plan: Digest, before: Digest, operations: readonly MemberOperation[]): Digest {
  let history = before;
  for (const operation of operations) {
    if (operation.kind === 'begin' || operation.kind === 'labels') history = plan;
    history = sha256(canonicalJson([history, operation]));
  }
  return history;
}
