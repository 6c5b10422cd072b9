import type { NameFeatures } from './cache/name-features.ts';
import { ColumnCodec, isTextTransform } from './column-codec.ts';
import { FeatureError, type FeatureErrorCode } from './errors.ts';
import type { FeatureColumn, LoadedSchema } from './schema.ts';

interface EventPlan {
  readonly codecs: readonly ColumnCodec[];
  /** Key of the event, by column. */
  readonly keys: readonly string[];
  readonly known: ReadonlySet<string>;
}

const plans = new WeakMap<LoadedSchema, EventPlan>();

/**
 * Turns one event, the values by name as JSON gives them, into a feature vector owned by the caller. Numbers are
 * given raw (before log1p), categories by name, flags as true, false, 0 or 1; a text that columns are derived
 * from is given under its source's name. null is a missing value, where the schema keeps those.
 *
 * Throws, naming the column and never the value: `features.missing-column`, `features.unknown-column`,
 * `features.wrong-type`, `features.unknown-category`, `features.not-finite`, `features.out-of-range`.
 */
export function encodeEvent(loaded: LoadedSchema, event: Readonly<Record<string, unknown>>): Float32Array {
  const vector = new Float32Array(loaded.schema.columns.length);
  encodeEventInto(loaded, event, vector);
  return vector;
}

export interface EncodeOptions {
  /** Where the vector begins in the output; 0 by default. */
  readonly offset?: number;
  /** Where numbers derived from texts are kept; they are derived anew by default. */
  readonly names?: Pick<NameFeatures, 'derive'>;
}

/** As `encodeEvent`, into `out`. */
export function encodeEventInto(
  loaded: LoadedSchema,
  event: Readonly<Record<string, unknown>>,
  out: Float32Array,
  { offset = 0, names }: EncodeOptions = {},
): void {
  const { codecs, keys, known } = planOf(loaded);
  for (const key of Object.keys(event)) {
    if (!known.has(key)) {
      const name = JSON.stringify(key.slice(0, 64));
      throw new FeatureError('features.unknown-column', `${name} is not in schema ${loaded.schema.name}`);
    }
  }
  for (let c = 0; c < codecs.length; c++) {
    const codec = codecs[c] as ColumnCodec;
    const key = keys[c] as string;
    // Own keys only: an event has no value for `constructor`.
    if (!Object.hasOwn(event, key)) throw refusal('features.missing-column', codec.column, 'is not given');
    out[offset + c] = encodeValue(codec, event[key], names);
  }
}

function encodeValue(codec: ColumnCodec, value: unknown, names: EncodeOptions['names']): number {
  const { column } = codec;
  if (value === undefined || value === null) {
    const missing = codec.fromNothing();
    if (codec.problem !== undefined) throw refusal('features.missing-column', column, 'must not be missing');
    return missing;
  }
  const encoded = encodeGiven(codec, value, names);
  if (codec.problem !== undefined) throw refusal(codec.problem, column, expectation(column));
  return encoded;
}

function encodeGiven(codec: ColumnCodec, value: unknown, names: EncodeOptions['names']): number {
  const { column } = codec;
  if (column.type === 'category' || isTextTransform(column.transform)) {
    if (typeof value !== 'string') throw refusal('features.wrong-type', column, 'must be a string');
    if (column.type === 'category') return codec.fromCategory(value);
    if (names === undefined || !isTextTransform(column.transform)) return codec.fromText(value);
    return codec.fromNumber(names.derive(value, column.transform));
  }
  if (column.type === 'boolean') {
    if (value === true || value === 1) return codec.fromText('1');
    if (value === false || value === 0) return codec.fromText('0');
    throw refusal('features.wrong-type', column, 'must be true, false, 0 or 1');
  }
  if (typeof value !== 'number') throw refusal('features.wrong-type', column, 'must be a number');
  // NaN is how the inside spells "missing": from outside it is always refused, whatever the column's policy.
  if (!Number.isFinite(value)) throw refusal('features.not-finite', column, 'must be a finite number');
  return codec.fromNumber(value);
}

function refusal(code: FeatureErrorCode, column: FeatureColumn, what: string): FeatureError {
  return new FeatureError(code, `${column.name}: ${what}`);
}

function expectation(column: FeatureColumn): string {
  if (column.categories !== undefined)
    return `must be one of ${column.categories.length} declared categories`;
  return `must be a number from ${column.range?.[0]} to ${column.range?.[1]}`;
}

function planOf(loaded: LoadedSchema): EventPlan {
  let plan = plans.get(loaded);
  if (plan === undefined) {
    const { columns } = loaded.schema;
    const keys = columns.map(
      (column) => (isTextTransform(column.transform) ? column.source : undefined) ?? column.name,
    );
    plan = { codecs: columns.map((column) => new ColumnCodec(column)), keys, known: new Set(keys) };
    plans.set(loaded, plan);
  }
  return plan;
}
