import { z } from 'zod';
import { OPERATING_POINTS } from '../../models/index.ts';
import { InferenceError } from '../errors.ts';

/** Key of the list, and what its watchers watch. */
export const LIST_PREFIX = 'inference.served';
export const LIST_KEY = `${LIST_PREFIX}.models`;

const listedModelSchema = z.strictObject({
  name: z.string().min(1).max(128),
  version: z.string().min(1).max(128),
  /** Of the plaintext weights. */
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  /** Object that holds its bundle, named by the digest of those bytes. */
  object: z.string().regex(/^model-[0-9a-f]{64}$/),
  /** Whether it is the one in place under its name; others are asked by their object alone. */
  isCurrent: z.boolean(),
  operatingPoint: z.enum(OPERATING_POINTS).optional(),
});

const modelListSchema = z.strictObject({
  v: z.literal(1),
  /** Grows with every list: an older one is not taken for news. */
  number: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  models: z.array(listedModelSchema).max(1_024),
});

/** A model that the owner serves. */
export type ListedModel = z.output<typeof listedModelSchema>;

/** What the owner serves now. */
export type ModelList = z.output<typeof modelListSchema>;

export function encodeList(list: Omit<ModelList, 'v'>): Uint8Array {
  return Buffer.from(JSON.stringify({ v: 1, ...list }));
}

/** Throws `inference.offer-refused`. */
export function decodeList(bytes: Uint8Array): ModelList {
  try {
    return modelListSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new InferenceError('inference.offer-refused', 'expected a list of models, version 1', { cause });
  }
}
