import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type ServerSentEvent, serverSentEvents } from './server-sent-events.ts';

function bodyOf(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(chunks);
}

async function read(chunks: readonly Uint8Array[]): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of serverSentEvents(bodyOf(chunks))) events.push(event);
  return events;
}

const STREAM =
  ': open\n\nid: a.1\nevent: detection\ndata: {"ä":1}\n\ndata: one\r\ndata:two\r\n\r\nevent: lost\n\ndata: cut';
const EVENTS = [
  { event: 'detection', data: '{"ä":1}', id: 'a.1' },
  { event: 'message', data: 'one\ntwo', id: 'a.1' },
];

suite('server-sent events', () => {
  test('are read with their lines joined, and not without the empty line at their end', async () => {
    assert.deepEqual(await read([new TextEncoder().encode(STREAM)]), EVENTS);
  });

  test('are the same byte by byte, and cut at each place', async () => {
    const bytes = new TextEncoder().encode(STREAM);
    assert.deepEqual(await read([...bytes].map((byte) => Uint8Array.of(byte))), EVENTS);
    for (let at = 1; at < bytes.length; at++) {
      assert.deepEqual(await read([bytes.subarray(0, at), bytes.subarray(at)]), EVENTS, `cut at ${at}`);
    }
  });

  test('let go of the stream where the reader stops', async () => {
    let isCancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
      cancel: () => {
        isCancelled = true;
      },
    });
    for await (const { data } of serverSentEvents(body)) {
      assert.equal(data, 'x');
      break;
    }
    assert.ok(isCancelled);
  });
});
