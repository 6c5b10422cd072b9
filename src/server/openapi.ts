import { z } from 'zod';
import { PRODUCT } from '../alerts/index.ts';
import { refusal } from './answers.ts';
import { EXAMPLES, type RouteExample } from './examples.ts';
import { ROUTE_KEYS, ROUTES, type RouteKey, type RouteSpec, splitKey } from './routes.ts';

/** OpenAPI 3.1, whose schemas are JSON Schema. */
export interface OpenApiDocument {
  readonly openapi: '3.1.0';
  readonly info: Readonly<Record<string, unknown>>;
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: Readonly<Record<string, unknown>>;
}

/** JSON of the length that a header tells, and then tensors as bytes. */
const BYTES = 'application/octet-stream';
const BINARY = { type: 'string', format: 'binary' };

let document: OpenApiDocument | undefined;

/** The description of every route, made from the table that serves them. */
export function openApiDocument(): OpenApiDocument {
  document ??= makeDocument();
  return document;
}

function makeDocument(): OpenApiDocument {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const key of ROUTE_KEYS) {
    const { method, url } = splitKey(key);
    const path = url.replaceAll(/:([a-z]+)/g, '{$1}');
    paths[path] ??= {};
    (paths[path] as Record<string, unknown>)[method.toLowerCase()] = operation(key, ROUTES[key]);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: PRODUCT.name,
      version: PRODUCT.version,
      description:
        'Traffic in, decisions and detections out; models, keys and the audit log. Every route needs an API key with ' +
        'the role that it names, unless it says anyone; each key may also do what a viewer may.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'agk_<id>_<secret>' } },
      schemas: { refusal: toJsonSchema(refusal) },
    },
  };
}

function operation(key: RouteKey, spec: RouteSpec): Record<string, unknown> {
  const refused = { 'application/json': { schema: { $ref: '#/components/schemas/refusal' } } };
  const example: RouteExample = EXAMPLES[key] ?? {};
  return {
    operationId: key
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-|-$/g, ''),
    summary: spec.about,
    description: `Role: ${spec.role}.`,
    security: spec.role === 'anyone' ? [] : [{ key: [] }],
    parameters: [
      ...parameters('path', spec.path, example.path),
      ...parameters('query', spec.query, example.query),
      ...parameters('header', spec.headers),
    ],
    ...(spec.body !== undefined && {
      requestBody: {
        required: true,
        content: Object.fromEntries(
          acceptedTypes(spec).map((type) => [
            type,
            {
              schema: type === BYTES ? BINARY : toJsonSchema(spec.body as z.ZodType),
              ...(type === 'application/json' && example.body !== undefined && { example: example.body }),
            },
          ]),
        ),
      },
    }),
    responses: {
      [String(spec.status ?? 200)]: { description: 'Done.', content: answerContent(spec) },
      '4XX': { description: 'Refused; the code says why.', content: refused },
      '5XX': { description: 'Failed; the code says why.', content: refused },
    },
  };
}

/** Content types of a route's body. */
export function acceptedTypes(spec: RouteSpec): readonly string[] {
  return spec.accepts ?? ['application/json'];
}

function answerContent({ answer, alsoAnswers }: RouteSpec): Record<string, unknown> {
  if (typeof answer === 'string') return { [answer]: { schema: { type: 'string' } } };
  return {
    'application/json': { schema: toJsonSchema(answer, 'output') },
    ...(alsoAnswers !== undefined && { [alsoAnswers]: { schema: BINARY } }),
  };
}

function parameters(
  place: 'path' | 'query' | 'header',
  schema: z.ZodType | undefined,
  example: Readonly<Record<string, unknown>> = {},
): Record<string, unknown>[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = toJsonSchema(schema) as {
    properties?: Record<string, Record<string, unknown>>;
    required?: readonly string[];
  };
  return Object.entries(properties).map(([name, inner]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(typeof inner.description === 'string' && { description: inner.description }),
    schema: inner,
    ...(name in example && { example: example[name] }),
  }));
}

/** `input` is what a caller sends, before defaults and conversions. */
function toJsonSchema(schema: z.ZodType, io: 'input' | 'output' = 'input'): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
