import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { Milliseconds } from '../base/index.ts';
import { ServerError } from './errors.ts';
import type { ServerContext } from './handler.ts';
import { SERVER_LIMITS } from './limits.ts';

/**
 * Sends each new state of a finding as a server-sent event until the reader or the server closes. A reader that is
 * too slow loses the oldest states of a bounded buffer and is told how many; it holds up nobody. It ends with the
 * right to read it, a heartbeat later.
 * Throws `server.streams-full`.
 */
export function streamDetections(
  context: ServerContext,
  reply: FastifyReply,
  options: {
    readonly heartbeatMs?: Milliseconds;
    /** Asked at each heartbeat: a stream must not outlive the key or the token it was opened with. */
    readonly mayGoOn?: () => Promise<boolean>;
  } = {},
): FastifyReply {
  const { guardian, metrics, streams } = context;
  if (streams.size >= SERVER_LIMITS.streams) {
    throw new ServerError('server.streams-full', `${SERVER_LIMITS.streams} streams are open`);
  }
  const subscription = guardian.detections.subscribe({ buffer: SERVER_LIMITS.streamBuffer });
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  raw.write(': open\n\n');
  const heartbeat = setInterval(() => {
    // One that does not drain its socket gets no more on top.
    if (!raw.writableNeedDrain) raw.write(': still here\n\n');
    options.mayGoOn?.().then(
      (may) => {
        if (!may) stop();
      },
      () => stop(),
    );
  }, options.heartbeatMs ?? SERVER_LIMITS.streamHeartbeatMs).unref();
  const end = () => subscription.close();
  streams.add(end);
  raw.once('close', end);
  // A reader that left while it was being admitted is not told of again.
  if (raw.destroyed) end();
  const stop = () => {
    end();
    // One that does not read would otherwise keep its place, and what waits for it.
    if (raw.writableNeedDrain) raw.destroy();
  };

  const send = async () => {
    let told = 0;
    for await (const detection of subscription) {
      if (raw.destroyed) break;
      if (subscription.dropped > told) {
        metrics.dropped.add({}, subscription.dropped - told);
        told = subscription.dropped;
        raw.write(`event: dropped\ndata: ${JSON.stringify({ dropped: told })}\n\n`);
      }
      const id = `${detection.uid}.${detection.revision}`.replaceAll(/[^\w.-]/g, '');
      if (!raw.write(`id: ${id}\nevent: detection\ndata: ${JSON.stringify(detection)}\n\n`))
        await drained(raw);
    }
  };
  send()
    .catch((error: unknown) => {
      guardian.logger.error({ error: String(error) }, 'a stream of detections failed');
    })
    .finally(() => {
      clearInterval(heartbeat);
      streams.delete(end);
      end();
      raw.end();
    });
  return reply;
}

/** Until more may be written, or nothing ever will. */
function drained(raw: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      raw.off('drain', done);
      raw.off('close', done);
      resolve();
    };
    raw.once('drain', done);
    raw.once('close', done);
    if (raw.destroyed) done();
  });
}
