import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { asGuardianError, type Refusal, refusalOf } from './error-mapping.ts';
import { ServerError } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { noteError } from './recent-errors.ts';
import { findRoute } from './routes.ts';

/** Answers with what went wrong, counts it, and logs what is the server's own fault. */
export function refuse(
  context: ServerContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, headers, body } = noteRefusal(context, error, labelOf(request));
  return reply.status(status).headers(headers).type('application/json; charset=utf-8').send(body);
}

/** What to answer, counted and logged. */
export function noteRefusal(context: ServerContext, error: unknown, route: string): Refusal {
  const refusal = refusalOf(error);
  const { status, body } = refusal;
  const { code, category } = body;
  context.metrics.refusals.add({ code, category });
  const { guardian } = context;
  noteError(guardian, { timeMs: guardian.clock.now(), code, category, status, route });
  const known = asGuardianError(error);
  if (status >= 500 && status !== 503) {
    const cause = known.cause instanceof Error ? known.cause.stack : undefined;
    guardian.logger.error({ code, route, fatal: known.fatal, cause }, body.error);
  }
  return refusal;
}

/** What never became a request: not HTTP, too long a header, or too slow. */
export function answerBrokenRequest(
  context: ServerContext,
  error: Error & { code?: string },
  socket: Socket,
): void {
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const refused = new ServerError(
    isLate ? 'server.request-timeout' : 'server.request-malformed',
    isLate ? 'the request did not arrive in time' : 'expected an HTTP request with headers of moderate size',
  );
  const { status, body } = refusalOf(refused);
  context.metrics.refusals.add({ code: body.code, category: body.category });
  // A TLS connection without a finished handshake has nothing to write an answer with.
  const isHandshake = socket instanceof TLSSocket && socket.getProtocol() === null;
  if (error.code === 'ECONNRESET' || isHandshake || !socket.writable) {
    socket.destroy();
    return;
  }
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${error.code === 'HPE_HEADER_OVERFLOW' ? 431 : status} Refused`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}

/** Route as declared, so that metric labels stay bounded. */
export function labelOf(request: FastifyRequest): string {
  return findRoute(request.method, request.routeOptions?.url ?? '')?.key ?? 'unknown';
}
