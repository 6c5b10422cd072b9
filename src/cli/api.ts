import { request } from 'node:http';
import type { ErrorCategory } from '../base/index.ts';
import { CliError } from './errors.ts';

/** A refusal by the server, with the code and reason it gave. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly category: ErrorCategory;
  readonly retry: boolean;

  constructor(status: number, body: unknown) {
    const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
    super(typeof fields.error === 'string' ? fields.error : `the server answered ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.code = typeof fields.code === 'string' ? fields.code : 'cli.refused';
    this.category = isCategory(fields.category) ? fields.category : 'resource';
    this.retry = fields.retry === true;
  }
}

export type Method = 'GET' | 'POST' | 'DELETE';

export interface ApiResponse {
  readonly status: number;
  readonly body: string;
}

/** How a request reaches the one owner of the state: its socket, or the application in this very process. */
export type Transport = (method: Method, path: string, body?: unknown) => Promise<ApiResponse>;

/** The server's routes as the commands use them. */
export class Api {
  readonly #send: Transport;

  constructor(send: Transport) {
    this.#send = send;
  }

  /** The answer's JSON. Throws `ApiError` for every status that is not 2xx. */
  async call(method: Method, path: string, body?: unknown): Promise<unknown> {
    const response = await this.#send(method, path, body);
    const value = parse(response.body);
    if (response.status < 200 || response.status > 299) throw new ApiError(response.status, value);
    return value;
  }
}

/** Requests over the owner's Unix socket. Throws `cli.unavailable` where nobody answers. */
export function socketTransport(socketPath: string): Transport {
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const outgoing = request(
        {
          socketPath,
          method,
          path,
          headers: {
            host: 'localhost',
            ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
          },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.once('error', reject);
          incoming.once('end', () =>
            resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      outgoing.once('error', (cause) =>
        reject(new CliError('cli.unavailable', `nobody answers on ${socketPath}`, { cause })),
      );
      outgoing.end(payload);
    });
}

/** The part of fastify's `inject` that is used. */
export interface Injectable {
  inject(options: {
    method: Method;
    url: string;
    headers: Record<string, string>;
    payload?: string;
  }): Promise<{ readonly statusCode: number; readonly body: string }>;
}

/** Requests to an application in this process. */
export function injectTransport(application: Injectable): Transport {
  return async (method, path, body) => {
    const response = await application.inject({
      method,
      url: path,
      headers: { host: 'localhost', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
    });
    return { status: response.statusCode, body: response.body };
  };
}

function parse(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isCategory(value: unknown): value is ErrorCategory {
  return value === 'model' || value === 'resource' || value === 'security' || value === 'validation';
}
