import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { Detection } from '../alerts/index.ts';
import type { Milliseconds } from '../base/index.ts';
import type { ServerContext } from './handler.ts';
import { SERVER_LIMITS } from './limits.ts';
import { StreamPlaces } from './stream-places.ts';

const known = new WeakMap<ServerContext, StreamPlaces>();

/**
 * Sends each new state of a finding as a server-sent event until the reader or the server closes. A reader that is
 * too slow loses the oldest states of a bounded buffer and is told how many; it holds up nobody. It ends with the
 * right to read it, a heartbeat later. One that says which state it had last gets what came since, or, where that is too
 * long ago, the event `gap`: the list has what it missed. The header `guardian-stream` says which: `resumed`, `gap` or `new`.
 * Throws `server.streams-full`.
 */
export function streamDetections(
  context: ServerContext,
  reply: FastifyReply,
  options: {
    readonly heartbeatMs?: Milliseconds;
    /** Who reads. */
    readonly principal: string;
    /** Name of the last state that the reader has: `Last-Event-ID`. */
    readonly lastId?: string | undefined;
    /** Asked at each heartbeat: a stream must not outlive the key or the token it was opened with. */
    readonly mayGoOn?: () => Promise<boolean>;
  },
): FastifyReply {
  const { guardian, metrics, streams } = context;
  const places =
    known.get(context) ?? new StreamPlaces(SERVER_LIMITS.streams, SERVER_LIMITS.streamsPerCaller);
  known.set(context, places);
  places.enter(options.principal);
  const subscription = guardian.detections.subscribe({ buffer: SERVER_LIMITS.streamBuffer });
  // In one go with the subscription: nothing falls between them, and nothing is told twice.
  const { lastId } = options;
  const missed = lastId === undefined ? [] : guardian.detections.told.since(lastId);
  const began = lastId === undefined ? 'new' : missed === undefined ? 'gap' : 'resumed';
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'guardian-stream': began,
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

  const tell = async (detection: Detection) => {
    const id = guardian.detections.told.idOf(detection);
    if (!raw.write(`id: ${id}\nevent: detection\ndata: ${JSON.stringify(detection)}\n\n`)) await drained(raw);
  };
  const send = async () => {
    let told = 0;
    if (missed === undefined) raw.write('event: gap\ndata: {}\n\n');
    for (const detection of missed ?? []) {
      if (raw.destroyed) break;
      await tell(detection);
    }
    for await (const detection of subscription) {
      if (raw.destroyed) break;
      if (subscription.dropped > told) {
        metrics.dropped.add({}, subscription.dropped - told);
        told = subscription.dropped;
        raw.write(`event: dropped\ndata: ${JSON.stringify({ dropped: told })}\n\n`);
      }
      await tell(detection);
    }
  };
  send()
    .catch((error: unknown) => {
      guardian.logger.error({ error: String(error) }, 'a stream of detections failed');
    })
    .finally(() => {
      clearInterval(heartbeat);
      streams.delete(end);
      places.leave(options.principal);
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
