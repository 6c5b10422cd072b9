import { z } from 'zod';
import { CERTIFICATE_STATES } from '../../inference/index.ts';
import type { Score } from '../../models/index.ts';
import type { FlowBatch } from '../../traffic/index.ts';
import { QueueError } from './errors.ts';
import { isEventId } from './event-id.ts';
import { decodeFrame, encodeFrame, saidIn } from './flow-frame.ts';

/** Where workers put what they found. */
export const RESULTS_TOPIC = 'events.results';
/** Value on the bus: in how many partitions events lie. */
export const PARTITIONS_KEY = 'events.partitions';

export function partitionTopic(partition: number): string {
  return `events.p${partition}`;
}

/** The partition that a stream's events go to (FNV-1a, 32 bits): a stream has one worker at a time. */
export function partitionOf(stream: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(stream)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % partitions;
}

/** Flows that were accepted as one event. */
export interface QueuedEvent {
  readonly id: string;
  /** Its flows share windows with those of its stream alone. */
  readonly stream: string;
  /** Registry name of the model. */
  readonly model: string;
  readonly flows: FlowBatch;
}

/** Why an event has no scores. */
export interface EventFailure {
  readonly code: string;
  readonly message: string;
}

/** What a worker made of an event. */
export interface EventResult {
  readonly id: string;
  readonly stream: string;
  readonly worker: string;
  /** Flows of the event. */
  readonly rows: number;
  /** Flows the schema refused, by code and column. */
  readonly rejects: Readonly<Record<string, number>>;
  readonly verdicts: Readonly<Record<Score['verdict'], number>>;
  /** The latest end of its flows, in the time of the traffic. */
  readonly untilMs: number;
  /** One a row of `attacks`, in order. */
  readonly scores: readonly Score[];
  readonly attacks: FlowBatch;
  readonly failed?: EventFailure;
}

const id = z.string().refine(isEventId, 'expected the id of an event');
const name = z.string().min(1).max(256);
const count = z.int().min(0);
const probability = z.number().min(0).max(1);
/** JSON has no NaN: what was missing is null there. */
const value = z
  .number()
  .nullable()
  .transform((given) => given ?? Number.NaN);
const contribution = z.strictObject({ column: name, value, contribution: value });

const score = z.strictObject({
  probability,
  verdict: z.literal('attack'),
  kind: name.exactOptional(),
  confidence: probability,
  reason: z.string().max(1_000).exactOptional(),
  model: z.strictObject({ name, version: name, digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }),
  certificate: z.enum(CERTIFICATE_STATES),
  topFeatures: z.array(contribution).max(64).exactOptional(),
  novelty: z
    .strictObject({
      says: z.literal('unlike anything in training'),
      distance: value,
      nearest: name.exactOptional(),
    })
    .exactOptional(),
});

const eventSchema = z.strictObject({ v: z.literal(1), id, stream: name, model: name });

const labelSchema = z.object({ id, stream: name });

const resultSchema = z.strictObject({
  v: z.literal(1),
  ...{ id, stream: name, worker: name, rows: count },
  rejects: z.record(z.string().max(256), count),
  verdicts: z.strictObject({ attack: count, benign: count, abstain: count }),
  untilMs: z.number().min(0).max(8.64e15),
  scores: z.array(score),
  failed: z.strictObject({ code: z.string().max(128), message: z.string().max(1_000) }).exactOptional(),
});

export function encodeEvent({ id: eventId, stream, model, flows }: QueuedEvent): Uint8Array {
  return encodeFrame({ v: 1, id: eventId, stream, model }, flows);
}

/** Throws `guardian.message-malformed`. */
export function decodeEvent(bytes: Uint8Array): QueuedEvent {
  const { says, flows } = decodeFrame(bytes);
  const { v: _, ...event } = read(eventSchema, says);
  return { ...event, flows };
}

/** Which event a message is of that cannot be read otherwise; undefined where it does not say. */
export function labelOf(bytes: Uint8Array): Pick<QueuedEvent, 'id' | 'stream'> | undefined {
  return labelSchema.safeParse(saidIn(bytes)).data;
}

export function encodeResult({ attacks, ...says }: EventResult): Uint8Array {
  return encodeFrame({ v: 1, ...says }, attacks);
}

/** Throws `guardian.message-malformed`. */
export function decodeResult(bytes: Uint8Array): EventResult {
  const { says, flows } = decodeFrame(bytes);
  const { v: _, scores, ...result } = read(resultSchema, says);
  if (scores.length !== flows.rows) {
    throw new QueueError(
      'guardian.message-malformed',
      `expected ${flows.rows} scores, a flow each, got ${scores.length}`,
    );
  }
  return { ...result, scores: scores as readonly Score[], attacks: flows };
}

function read<S extends z.ZodType>(schema: S, says: unknown): z.output<S> {
  const parsed = schema.safeParse(says);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = (issue?.path ?? []).map(String).join('.').slice(0, 200);
  throw new QueueError('guardian.message-malformed', `${place}: ${issue?.message.slice(0, 200)}`);
}
