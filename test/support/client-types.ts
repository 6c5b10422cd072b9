import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { openApiDocument } from '../../src/server/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIOME = fileURLToPath(new URL('../../node_modules/@biomejs/biome/bin/biome', import.meta.url));

/** Where the types stand, from the repository's root. */
export const CLIENT_TYPES = 'src/client/route-types.ts';

type Schema = Readonly<Record<string, unknown>>;

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly schema: Schema;
}

interface Operation {
  readonly summary: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, unknown>> }>>;
}

/** The types of every route for the client, formatted as the rest of the code. */
export function renderClientTypes(document: ReturnType<typeof openApiDocument>): string {
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => renderRoute(method, path, operation as Operation)),
  );
  const source = `/** Made from the OpenAPI document by \`npm run docs\`: what each route takes and answers. */
export interface Routes {
${routes.join('\n')}
}

/** Method and path of a route. */
export type RouteKey = keyof Routes;
`;
  const formatted = spawnSync(
    process.execPath,
    [BIOME, 'format', '--vcs-enabled=false', `--stdin-file-path=${CLIENT_TYPES}`],
    { cwd: ROOT, input: source, encoding: 'utf8' },
  );
  if (formatted.status !== 0) throw new Error(formatted.stderr);
  return formatted.stdout;
}

function renderRoute(method: string, path: string, operation: Operation): string {
  const key = `${method.toUpperCase()} ${path.replaceAll(/\{([a-z]+)\}/g, ':$1')}`;
  const content = operation.requestBody?.content;
  const bodies = Object.entries(content ?? {}).map(([type, { schema }]) =>
    type === 'application/json' ? typeOf(schema) : type.endsWith('ndjson') ? 'string' : 'Uint8Array',
  );
  const answers = Object.entries(operation.responses).find(([status]) => /^2/.test(status))?.[1].content;
  const of = (place: Parameter['in']) => operation.parameters.filter((each) => each.in === place);
  const path_ = path.endsWith('*') ? "{ '*': string }" : parametersType(of('path'));
  // Lines of text are one of the forms that events come in.
  const kinds = bodies.filter(
    (type) => type !== 'string' || !bodies.some((other) => /\| string$/.test(other)),
  );
  return `/** ${operation.summary} */
  '${key}': {
    path: ${path_};
    query: ${parametersType(of('query'))};
    headers: ${parametersType(of('header'))};
    body: ${bodies.length === 0 ? 'undefined' : [...new Set(kinds)].join(' | ')};
    answer: ${answerType(answers ?? {})};
  };`;
}

function answerType(content: Readonly<Record<string, unknown>>): string {
  const json = content['application/json'] as { readonly schema: Schema } | undefined;
  if (json !== undefined) return typeOf(json.schema);
  return Object.keys(content).some((type) => type.startsWith('text/')) ? 'string' : 'Uint8Array';
}

function parametersType(parameters: readonly Parameter[]): string {
  if (parameters.length === 0) return 'undefined';
  const fields = parameters.map(
    ({ name, required, schema }) =>
      `${comment(schema)}${property(name)}${required ? '' : '?'}: ${typeOf(schema)}`,
  );
  return block(fields);
}

/** A TypeScript type of a JSON Schema; throws at what it does not know. */
export function typeOf(schema: Schema): string {
  if ('const' in schema) return literal(schema.const);
  if (Array.isArray(schema.enum)) return schema.enum.map(literal).join(' | ');
  const choices = (schema.anyOf ?? schema.oneOf) as readonly Schema[] | undefined;
  if (choices !== undefined) return [...new Set(choices.map(typeOf))].join(' | ');
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type })).join(' | ');
  switch (schema.type) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `readonly (${typeOf((schema.items ?? {}) as Schema)})[]`;
    case 'object':
      return objectType(schema);
    case undefined:
      return 'unknown';
    default:
      throw new Error(`no type for ${JSON.stringify(schema)}`);
  }
}

function objectType(schema: Schema): string {
  const properties = Object.entries((schema.properties ?? {}) as Readonly<Record<string, Schema>>);
  const required = (schema.required ?? []) as readonly string[];
  const rest = schema.additionalProperties as Schema | boolean | undefined;
  const fields = properties.map(
    ([name, inner]) =>
      `${comment(inner)}${property(name)}${required.includes(name) ? '' : '?'}: ${typeOf(inner)}`,
  );
  // Beside named fields an index can only be of a type that all of them have.
  if (typeof rest === 'object')
    fields.push(`[name: string]: ${properties.length > 0 ? 'unknown' : typeOf(rest)}`);
  return fields.length === 0 ? 'Record<string, never>' : block(fields);
}

/** On lines of their own where one has a comment; the formatter keeps that. */
function block(fields: readonly string[]): string {
  return `{${fields.some((field) => field.startsWith('/**')) ? '\n' : ' '}${fields.join(';\n')} }`;
}

function comment({ description }: Schema): string {
  return typeof description === 'string' ? `/** ${description.replaceAll('*/', '* /')} */\n` : '';
}

function property(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`;
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "\\'")}'` : JSON.stringify(value);
}
