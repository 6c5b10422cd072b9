import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stopAtAbort, untilAborted } from './until-aborted.ts';

/** Three numbers as bytes that can be stopped, after which one says that they ended. */
function numbers() {
  const bytes = { stops: 0, stop: () => void bytes.stops++ };
  async function* read() {
    for (let i = 1; i <= 3 && bytes.stops === 0; i++) yield i;
    yield -1;
  }
  return { bytes, read: read() };
}

for (const [name, give, afterAbort] of [
  ['stopAtAbort hands out what comes of the end', stopAtAbort, [1, -1]],
  ['untilAborted hands out nothing more', untilAborted, [1]],
] as const) {
  test(`${name}, and releases the bytes and the signal`, async () => {
    const abort = new AbortController();
    const { bytes, read } = numbers();
    const got: number[] = [];
    for await (const number of give(bytes, read, abort.signal)) {
      got.push(number);
      abort.abort();
    }
    assert.deepEqual(got, afterAbort);
    assert.ok(bytes.stops > 0);

    const early = numbers();
    const given = [];
    for await (const number of give(early.bytes, early.read, AbortSignal.abort())) given.push(number);
    assert.deepEqual(given, afterAbort.slice(1));

    const left = numbers();
    const later = new AbortController();
    for await (const number of give(left.bytes, left.read, later.signal)) if (number === 2) break;
    assert.equal(left.bytes.stops, 1);
    later.abort();
    assert.equal(left.bytes.stops, 1);
  });
}
