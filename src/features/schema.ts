import type { z } from 'zod';
import type { Digest } from '../base/index.ts';
import { canonicalJson, sha256 } from '../crypto/index.ts';
import type { columnSchema, slidingWindowsSchema, tableSchema, windowsSchema } from './schema-shape.ts';

type Deep<T> = T extends readonly (infer U)[]
  ? T extends readonly [infer A, infer B]
    ? readonly [A, B]
    : readonly Deep<U>[]
  : T extends object
    ? { readonly [K in keyof T]: Deep<T[K]> }
    : T;

/** One feature: one float of the vector. A category is its index, a boolean 0 or 1, missing is NaN. */
export type FeatureColumn = Deep<z.infer<typeof columnSchema>>;
export type TableLayout = Deep<z.infer<typeof tableSchema>>;
/** Windows over the last connections of a key, walked anew for each flow. */
export type WindowLimits = Deep<z.infer<typeof windowsSchema>>;
/** Windows that slide by buckets, kept up to date flow by flow. */
export type SlidingWindowLimits = Deep<z.infer<typeof slidingWindowsSchema>>;

/**
 * Formats v1 and v2 of a feature schema, as it lies in `schemas/NAME.json`. Version 2 adds sliding windows and the
 * policy impute; whoever reads it reads version 1.
 */
export interface FeatureSchema {
  readonly v: 1 | 2;
  readonly name: string;
  readonly version: number;
  readonly kind: 'flows' | 'table';
  readonly about: string;
  readonly sourceKinds: readonly string[];
  readonly columns: readonly FeatureColumn[];
  readonly table?: TableLayout;
  readonly windows?: WindowLimits | SlidingWindowLimits;
}

/** A schema that was checked, and the digest that names it. */
export interface LoadedSchema {
  readonly schema: FeatureSchema;
  readonly id: Digest;
}

/** SHA-256 of the schema's canonical JSON (RFC 8785): formatting and order of keys do not matter. */
export function schemaDigest(schema: FeatureSchema): Digest {
  return sha256(schemaBytes(schema));
}

/** The canonical JSON of a schema, as it is stored beside a model. */
export function schemaBytes(schema: FeatureSchema): Uint8Array {
  return new TextEncoder().encode(canonicalJson(schema));
}

/** Freezes a schema that is known to be valid, and names it. */
export function sealSchema(value: FeatureSchema): LoadedSchema {
  const schema = freeze(value);
  return Object.freeze({ schema, id: schemaDigest(schema) });
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
