import { clientError } from './errors.ts';
import type { RouteKey, Routes } from './route-types.ts';

type PartName = 'path' | 'query' | 'headers' | 'body';

/** A part that the route does not take must be left out, one whose fields are all optional may be. */
type Part<K extends RouteKey, P extends PartName> = Routes[K][P] extends undefined
  ? { readonly [N in P]?: undefined }
  : Record<never, never> extends Routes[K][P]
    ? { readonly [N in P]?: Routes[K][P] }
    : { readonly [N in P]: Routes[K][P] };

/** What a call of a route needs. */
export type RouteRequest<K extends RouteKey> = Part<K, 'path'> &
  Part<K, 'query'> &
  Part<K, 'headers'> &
  Part<K, 'body'> & { readonly signal?: AbortSignal };

/** The request, which may be left out where nothing in it is needed. */
export type RequestArguments<K extends RouteKey> =
  Record<never, never> extends RouteRequest<K> ? [request?: RouteRequest<K>] : [request: RouteRequest<K>];

/** The same with the types forgotten. */
export interface LooseRequest {
  readonly path?: Readonly<Record<string, unknown>> | undefined;
  readonly query?: Readonly<Record<string, unknown>> | undefined;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

export interface PreparedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: RequestInit['body'];
}

/** Puts a request together for `fetch`. Throws `client.request-invalid` where a part of the path is missing. */
export function prepareRequest(base: string, key: RouteKey, request: LooseRequest): PreparedRequest {
  const space = key.indexOf(' ');
  const path = key
    .slice(space + 1)
    .replaceAll(/:([a-z]+)/g, (_, name: string) => encodeURIComponent(pathPart(key, request, name)))
    .replace('*', () => pathPart(key, request, '*').split('/').map(encodeURIComponent).join('/'));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) query.set(name, String(value));
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    if (value !== undefined) headers[name] = String(value);
  }
  const { body } = request;
  const search = query.size === 0 ? '' : `?${query}`;
  const prepared = { method: key.slice(0, space), url: `${base}${path}${search}`, headers };
  if (body === undefined) return { ...prepared, body: undefined };
  if (body instanceof Uint8Array) {
    headers['content-type'] = 'application/octet-stream';
    return { ...prepared, body: body as RequestInit['body'] };
  }
  headers['content-type'] = typeof body === 'string' ? 'application/x-ndjson' : 'application/json';
  return { ...prepared, body: typeof body === 'string' ? body : JSON.stringify(body) };
}

function pathPart(key: RouteKey, { path }: LooseRequest, name: string): string {
  const value = path?.[name];
  // An empty part, or one of dots, would be another route once the address is normalised.
  if (value === undefined || /^\.{0,2}$/.test(String(value))) {
    throw clientError('client.request-invalid', `${key} needs ${name} in its path`);
  }
  return String(value);
}
