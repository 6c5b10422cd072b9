import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Guardian } from '../guardian/index.ts';
import { ServerError } from './errors.ts';
import type { Caller } from './roles.ts';
import type { ROUTES, RouteKey, RouteSpec } from './routes.ts';
import type { ServerMetrics } from './server-metrics.ts';

/** What the routes need of a guardian. */
export type ServedGuardian = Pick<
  Guardian,
  | 'config'
  | 'origins'
  | 'clock'
  | 'logger'
  | 'metrics'
  | 'stateFolder'
  | 'auditFolder'
  | 'keys'
  | 'log'
  | 'database'
  | 'registry'
  | 'rollouts'
  | 'engine'
  | 'detections'
  | 'notices'
  | 'triage'
  | 'monitor'
  | 'updates'
  | 'trainingKeys'
  | 'identities'
  | 'trainings'
  | 'blobs'
  | 'modelName'
  | 'load'
  | 'aliasOf'
  | 'dependencies'
  | 'promote'
  | 'certify'
  | 'rollback'
  | 'schemaOf'
  | 'ingestFlows'
  | 'endRoute'
  | 'queue'
  | 'queueFlows'
  | 'host'
  | 'scoreEvents'
  | 'scoreVectors'
  | 'scoreVectorColumns'
  | 'unload'
  | 'isUnloaded'
  | 'denied'
>;

/** Owned by one built server. */
export interface ServerContext {
  readonly guardian: ServedGuardian;
  readonly metrics: ServerMetrics;
  /** Ends each open stream; called when the server closes. */
  readonly streams: Set<() => void>;
}

type Parsed<S, K extends keyof RouteSpec> = K extends keyof S
  ? S[K] extends z.ZodType
    ? z.output<S[K]>
    : undefined
  : undefined;

/** A request that passed every check of its route. */
export interface Call<S> {
  readonly context: ServerContext;
  readonly guardian: ServedGuardian;
  readonly caller: Caller;
  readonly path: Parsed<S, 'path'>;
  readonly query: Parsed<S, 'query'>;
  readonly body: S extends { readonly rawBody: true } ? Buffer | undefined : Parsed<S, 'body'>;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Gives the JSON to answer with, or the reply where it has answered itself. */
export type Handler<K extends RouteKey> = (call: Call<(typeof ROUTES)[K]>) => Promise<unknown> | unknown;

/** One handler a route: a table with a missing or an extra one does not compile. */
export type Handlers = { readonly [K in RouteKey]: Handler<K> };

/** Parses a part of a request. Throws `server.request-invalid`, naming the field and not its value. */
export function parsePart(schema: z.ZodType | undefined, part: string, value: unknown): unknown {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = [part, ...(issue?.path ?? [])].map(String).join('.').slice(0, 200);
  throw new ServerError('server.request-invalid', `${place}: ${issue?.message.slice(0, 300) ?? 'not valid'}`);
}
