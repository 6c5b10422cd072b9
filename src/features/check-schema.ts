import { FeatureError } from './errors.ts';
import { type FeatureSchema, type LoadedSchema, sealSchema } from './schema.ts';
import { featureSchema } from './schema-shape.ts';

/** Checks a parsed JSON value and freezes the result. Throws `features.schema-malformed` naming the place. */
export function checkSchema(value: unknown): LoadedSchema {
  const parsed = featureSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const place = issue?.path.join('.') || 'the schema';
    throw new FeatureError('features.schema-malformed', `${place}: ${issue?.message ?? 'not valid'}`);
  }
  return sealSchema(JSON.parse(JSON.stringify(parsed.data)) as FeatureSchema);
}

/** Parses and checks the text of a schema. `from` names it in messages. */
export function parseSchema(content: string | Uint8Array, from = 'the schema'): LoadedSchema {
  const text = typeof content === 'string' ? content : new TextDecoder().decode(content);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FeatureError('features.schema-malformed', `${from}: expected JSON`, { cause });
  }
  return checkSchema(value);
}
