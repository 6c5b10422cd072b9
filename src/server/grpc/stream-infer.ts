import { once } from 'node:events';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { asGuardianError } from '../error-mapping.ts';
import type { ServerContext } from '../handler.ts';
import { SERVER_LIMITS } from '../limits.ts';
import type { Waiting } from '../oip/infer.ts';
import { StreamPlaces } from '../stream-places.ts';
import { type Admitted, statusOf } from './admit-calls.ts';
import { type InferRequestMessage, plainParameters } from './infer-messages.ts';
import { checkDecoded } from './message-checks.ts';

type InferOne = (
  message: InferRequestMessage,
  waiting: Waiting & { readonly deadlineMs?: number },
) => Promise<Record<string, unknown>>;

/** `ModelStreamInferResponse`. */
interface StreamAnswer {
  readonly error_message?: string;
  readonly infer_response?: Record<string, unknown>;
}

const { inferStreams, inferStreamsPerCaller } = SERVER_LIMITS;
const known = new WeakMap<ServerContext, StreamPlaces>();

/**
 * Answers the requests of one stream in their order. Each of them is let in anew, so a key that is revoked ends the
 * stream; whatever else is wrong with one is said in its answer. At most `streamPending` wait, then nothing is read.
 */
export function streamInfer(
  context: ServerContext,
  admitted: Admitted,
  call: ServerDuplexStream<InferRequestMessage, StreamAnswer>,
  inferOne: InferOne,
): void {
  const { principal } = admitted.caller;
  const places = known.get(context) ?? new StreamPlaces(inferStreams, inferStreamsPerCaller);
  known.set(context, places);
  try {
    places.enter(principal);
  } catch (error) {
    call.emit('error', statusOf(context, error));
    return;
  }
  const ended = new AbortController();
  let isOpen = true;
  let pending = 0;
  let tail: Promise<void> = Promise.resolve();
  const end = (finish: () => void): void => {
    if (!isOpen) return;
    isOpen = false;
    places.leave(principal);
    finish();
  };
  const waiting = { signal: ended.signal, source: admitted.source };
  const answer = async (message: InferRequestMessage): Promise<StreamAnswer> => {
    try {
      await admitted.again();
      checkDecoded(message);
      const response = await inferOne(message, waiting);
      return { infer_response: withFinalMark(message, response) };
    } catch (error) {
      const known = asGuardianError(error);
      if (known.category === 'security' && known.code !== 'server.rate-limited') throw error;
      return refusedAnswer(context, error, message.id ?? '');
    }
  };
  call.on('data', (message: InferRequestMessage) => {
    if (!isOpen) return;
    if (++pending >= SERVER_LIMITS.streamPending) call.pause();
    const made = answer(message);
    // Its turn may come late: a rejection must not be nobody's until then.
    made.catch(() => undefined);
    tail = tail.then(async () => {
      const value = await made;
      pending--;
      if (!isOpen) return;
      if (!call.write(value)) await once(call, 'drain', { signal: ended.signal });
      if (pending < SERVER_LIMITS.streamPending && call.isPaused()) call.resume();
    });
    tail.catch((error: unknown) =>
      end(() => {
        ended.abort();
        call.emit('error', statusOf(context, error));
      }),
    );
  });
  call.on('end', () => {
    tail.then(
      () => end(() => call.end()),
      () => undefined,
    );
  });
  call.on('cancelled', () => end(() => ended.abort()));
  call.on('error', () => end(() => ended.abort()));
}

/** Its id stands in it, so that the client knows which of its requests it was. */
function refusedAnswer(context: ServerContext, error: unknown, id: string): StreamAnswer {
  return { error_message: statusOf(context, error).details, infer_response: { id } };
}

/** Clients that ask for it are told that no further answer to this request comes. */
function withFinalMark(
  message: InferRequestMessage,
  response: Record<string, unknown>,
): Record<string, unknown> {
  if (plainParameters(message.parameters).triton_enable_empty_final_response !== true) return response;
  const parameters = response.parameters as Record<string, unknown>;
  return { ...response, parameters: { ...parameters, triton_final_response: { bool_param: true } } };
}
