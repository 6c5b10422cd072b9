import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { FeatureError } from './errors.ts';
import { type FeatureSchema, type LoadedSchema, sealSchema } from './schema.ts';
import { SCHEMA_LIMITS } from './schema-limits.ts';

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
  if (NAME.test(nameOrFile)) {
    const path = fileURLToPath(new URL(`../../schemas/${nameOrFile}.json`, import.meta.url));
    // Part of the package and checked by its tests: what checks schemas need not be loaded.
    return sealSchema(JSON.parse(await readBounded(path, nameOrFile)) as FeatureSchema);
  }
  const { parseSchema } = await import('./check-schema.ts');
  return parseSchema(await readBounded(nameOrFile, nameOrFile), nameOrFile);
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
