import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { FeatureError } from './errors.ts';
import { checkSchema, type LoadedSchema, SCHEMA_LIMITS } from './schema.ts';

/** Names of the schemas that come with the product. */
export const PACKAGED_SCHEMAS = [
  'flow-core',
  'flow',
  'nsl-kdd',
  'kdd99',
  'unsw-nb15',
  'nf-bot-iot-v2',
  'sdn-ddos',
  'dga',
] as const;

const NAME = /^[a-z][a-z0-9-]{0,62}$/;

/**
 * Loads a packaged schema by name, else a file by path (`./mine.json`; what looks like a name is never a path).
 * Throws `features.schema-unknown` where there is none, `features.schema-malformed` where it is not valid.
 */
export async function loadSchema(nameOrFile: string): Promise<LoadedSchema> {
  const path = NAME.test(nameOrFile)
    ? fileURLToPath(new URL(`../../schemas/${nameOrFile}.json`, import.meta.url))
    : nameOrFile;
  return parseSchema(await readBounded(path, nameOrFile), nameOrFile);
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

async function readBounded(path: string, name: string): Promise<string> {
  let size: number;
  try {
    size = (await stat(path)).size;
  } catch (cause) {
    const known = PACKAGED_SCHEMAS.join(', ');
    throw new FeatureError('features.schema-unknown', `no schema ${name}; packaged are ${known}`, { cause });
  }
  if (size > SCHEMA_LIMITS.fileBytes) {
    const message = `${name}: expected at most ${SCHEMA_LIMITS.fileBytes} bytes, got ${size}`;
    throw new FeatureError('features.schema-malformed', message);
  }
  return readFile(path, 'utf8');
}
