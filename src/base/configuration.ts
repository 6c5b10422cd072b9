import { readFile, stat } from 'node:fs/promises';
import type { z } from 'zod';
import { BaseError } from './errors.ts';

/** Where a value in force came from. */
export type ConfigOrigin = 'default' | 'file' | `environment ${string}` | 'command line';

export interface ResolvedConfiguration<T> {
  /** Deeply frozen. */
  readonly values: T;
  /** Origin of each leaf by its dotted path, such as `inference.batchSize`; every leaf is present. */
  readonly origins: ReadonlyMap<string, ConfigOrigin>;
}

export interface ConfigurationSources {
  /** Path of the YAML file; absent means none. A named file that does not exist is an error. */
  readonly file?: string;
  /** The process environment. `GUARDIAN_SECTION_FIELD_NAME` sets `section.fieldName`. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Leaves set on the command line, by dotted path. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** Variables of the same prefix that are not configuration: where things lie. */
const RESERVED_VARIABLES = ['GUARDIAN_STATE', 'GUARDIAN_CONFIG', 'GUARDIAN_DATA'];
const MAX_FILE_BYTES = 1024 * 1024;

type Tree = { [key: string]: Tree | unknown };

/**
 * Joins defaults, file, environment and command line (later wins), and validates the whole once.
 * The schema must give every leaf a default; unknown keys and variables are refused by name.
 * Throws `base.config-invalid`.
 */
export async function resolveConfiguration<S extends z.ZodType>(
  schema: S,
  sources: ConfigurationSources,
): Promise<ResolvedConfiguration<z.output<S>>> {
  const defaults = schema.parse({}) as Tree;
  const known = leafPaths(defaults);
  const origins = new Map<string, ConfigOrigin>(known.map((path) => [path, 'default']));
  const merged: Tree = {};

  if (sources.file !== undefined) {
    const tree = await readYaml(sources.file);
    for (const path of leafPaths(tree)) {
      setLeaf(merged, path, leafAt(tree, path));
      // A key the schema does not know is named by the validation below.
      origins.set(known.find((leaf) => leaf === path || path.startsWith(`${leaf}.`)) ?? path, 'file');
    }
  }
  const byVariable = new Map(known.map((path) => [variableName(path), path]));
  for (const [name, text] of Object.entries(sources.environment ?? {})) {
    if (text === undefined || !name.startsWith('GUARDIAN_') || RESERVED_VARIABLES.includes(name)) continue;
    const path = byVariable.get(name);
    if (path === undefined) throw invalid(`the environment variable ${name} is not a configuration field`);
    setLeaf(merged, path, await parseScalar(text));
    origins.set(path, `environment ${name}`);
  }
  for (const [path, value] of Object.entries(sources.overrides ?? {})) {
    setLeaf(merged, path, value);
    origins.set(path, 'command line');
  }

  const result = schema.safeParse(merged);
  if (!result.success) {
    const { prettifyError } = await import('zod');
    throw invalid(prettifyError(result.error).replaceAll('\n', '; '), result.error);
  }
  return { values: deepFreeze(result.data), origins };
}

/** The environment variable that sets a dotted path. */
export function variableName(path: string): string {
  return `GUARDIAN_${path
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

async function readYaml(file: string): Promise<Tree> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) throw invalid(`${file} has ${size} bytes, at most ${MAX_FILE_BYTES} are read`);
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof BaseError) throw error;
    throw invalid(`cannot read the configuration file ${file}`, error);
  }
  const yaml = await import('yaml');
  try {
    const value: unknown = yaml.parse(text, { maxAliasCount: 10, uniqueKeys: true });
    if (value === null || value === undefined) return {};
    if (typeof value !== 'object' || Array.isArray(value)) throw invalid(`${file} must hold a mapping`);
    return value as Tree;
  } catch (error) {
    if (error instanceof yaml.YAMLParseError) throw invalid(`${file} is not YAML: ${error.message}`, error);
    throw error;
  }
}

/** Environment values are read as YAML scalars or flow lists, so that `[10.0.0.0/8]` and `5` mean what they say. */
async function parseScalar(text: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text, { maxAliasCount: 0 });
  } catch {
    return text;
  }
}

function leafPaths(tree: Tree, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) && Object.keys(value).length > 0 ? leafPaths(value, `${prefix}${key}.`) : [prefix + key],
  );
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function leafAt(tree: Tree, path: string): unknown {
  return path.split('.').reduce<unknown>((node, key) => (isTree(node) ? node[key] : undefined), tree);
}

function setLeaf(tree: Tree, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() as string;
  let node = tree;
  for (const key of keys) {
    const next = Object.hasOwn(node, key) ? node[key] : undefined;
    if (isTree(next)) node = next;
    else {
      const made: Tree = Object.create(null);
      node[key] = made;
      node = made;
    }
  }
  node[last] = value;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

function invalid(message: string, cause?: unknown): BaseError {
  return new BaseError('base.config-invalid', message, cause === undefined ? {} : { cause });
}
