import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { decodeMessage, encodeMessage } from './message.ts';

test('a message comes back as it was written', () => {
  fc.assert(
    fc.property(fc.string(), fc.uint8Array(), (text, body) => {
      const { head, body: back } = decodeMessage(encodeMessage(text, body), z.string());
      assert.deepEqual([head, [...back]], [text, [...body]]);
    }),
    { seed: 5, numRuns: 50 },
  );
});

test('a message that announces more than there is is refused, whatever the number', () => {
  const whole = encodeMessage('text');
  for (const length of [
    whole.length,
    0x7ffffffc,
    0x7fffffff,
    0x80000000,
    0xfffffffc,
    0xfffffffd,
    0xffffffff,
  ]) {
    const bytes = whole.slice();
    new DataView(bytes.buffer).setUint32(0, length, true);
    assert.throws(() => decodeMessage(bytes, z.unknown()), /fewer bytes than it announces/);
  }
  for (const cut of [0, 3, 4, whole.length - 1]) {
    assert.throws(() => decodeMessage(whole.subarray(0, cut), z.unknown()), {
      code: 'training.message-refused',
    });
  }
});
