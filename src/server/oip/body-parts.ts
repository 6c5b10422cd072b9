import { ServerError } from '../errors.ts';

/** The JSON of a request and the bytes that follow it. */
export interface BodyParts {
  readonly json: unknown;
  readonly blob: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/**
 * Splits a body by its `Inference-Header-Content-Length`; without one all of it is JSON. The parts are views. Throws
 * `server.body-malformed`.
 */
export function splitBody(body: Buffer | undefined, headerLength: string | undefined): BodyParts {
  if (body === undefined || body.length === 0) {
    throw new ServerError('server.body-malformed', 'expected a JSON body, got none');
  }
  if (headerLength === undefined) return { json: parseJson(body, body.length), blob: NOTHING };
  const length = /^\d{1,9}$/.test(headerLength) ? Number(headerLength) : -1;
  if (length < 0 || length > body.length) {
    throw new ServerError(
      'server.body-malformed',
      `expected an Inference-Header-Content-Length of at most ${body.length}`,
    );
  }
  return { json: parseJson(body, length), blob: body.subarray(length) };
}

/** An object, or undefined where there is no body: clients of the repository send none. Throws `server.body-malformed`. */
export function optionalJson(body: Buffer | undefined): unknown {
  return body === undefined || body.length === 0 ? undefined : parseJson(body, body.length);
}

/**
 * What is read of it is read by name and checked one by one, so a key such as `__proto__` is only a field that nobody
 * asks for.
 */
function parseJson(body: Buffer, length: number): unknown {
  try {
    return JSON.parse(body.toString('utf8', 0, length));
  } catch (cause) {
    throw new ServerError('server.body-malformed', 'the body is not JSON', { cause });
  }
}
