import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAMES, FrameReader, frameOf } from './frames.ts';

test('frames come whole, however they were cut', () => {
  const texts = ['', 'a', 'x'.repeat(300), '{"end":true}'];
  const bytes = Buffer.concat(texts.map((text, i) => frameOf(FRAMES.note, text, i)));
  for (const size of [1, 2, 19, 20, 21, 64, bytes.length]) {
    const heard: string[] = [];
    const reader = new FrameReader(1_000, ({ id }, content) => {
      heard.push(`${id} ${Buffer.from(content).toString()}`);
    });
    for (let at = 0; at < bytes.length; at += size) {
      assert.ok(reader.push(bytes.subarray(at, at + size)));
    }
    assert.deepEqual(
      heard,
      texts.map((text, i) => `${i} ${text}`),
    );
  }
});

test('a frame of more than may be is refused before there is room made for it', () => {
  const reader = new FrameReader(10, () => assert.fail('it was heard'));
  assert.equal(reader.push(frameOf(FRAMES.note, 'x'.repeat(11))), false);
});

test('what was received is forgotten when it has been used', () => {
  let content: Uint8Array = new Uint8Array(0);
  const reader = new FrameReader(10, (_, heard) => {
    content = heard;
  });
  reader.push(frameOf(FRAMES.score, 'secret'));
  assert.equal(Buffer.from(content).toString(), 'secret');
  reader.wipe();
  assert.ok(content.every((byte) => byte === 0));
});
