/** One event of a stream. */
export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
  /** The last id of the stream so far; empty where it gave none. */
  readonly id: string;
}

/**
 * The events of a stream as WHATWG HTML 9.2.6 reads them; comments are left out, times of retries not needed.
 * Ends where the bytes end; what has no empty line after it is not an event.
 */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  let event = 'message';
  let data: string[] = [];
  let id = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      // A lone CR may be the first half of a CRLF that is still under way.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop() as string;
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event, data: data.join('\n'), id };
          event = 'message';
          data = [];
        } else if (line.startsWith('event:')) event = fieldOf(line);
        else if (line.startsWith('data:')) data.push(fieldOf(line));
        else if (line.startsWith('id:') && !line.includes('\0')) id = fieldOf(line);
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function fieldOf(line: string): string {
  return line.slice(line.indexOf(':') + 1).replace(/^ /, '');
}
