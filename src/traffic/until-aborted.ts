/** Bytes, or a socket, that can be ended while they are read. Ending twice does nothing more. */
interface Stoppable {
  stop(): void;
}

/** What `read` gives; at an abort the bytes end, and what `read` makes of their end still comes. They are released at the end. */
export async function* stopAtAbort<T>(
  bytes: Stoppable,
  read: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  const stop = () => bytes.stop();
  signal?.addEventListener('abort', stop);
  if (signal?.aborted === true) stop();
  try {
    yield* read;
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/** What `read` gives until an abort, after which nothing comes. The bytes are released at the end. */
export async function* untilAborted<T>(
  bytes: Stoppable,
  read: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  for await (const item of stopAtAbort(bytes, read, signal)) {
    if (signal?.aborted === true) return;
    yield item;
  }
}
