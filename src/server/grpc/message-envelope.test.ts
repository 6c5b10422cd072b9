import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { envelopeBytes } from './message-envelope.ts';
import { loadServiceDefinition } from './service-definition.ts';

const { ModelInfer, ModelStreamInfer } = loadServiceDefinition();
const COUNT = 100_000;

function encode(message: object): Buffer {
  return ModelInfer?.requestSerialize(message) ?? assert.fail('no method');
}

function input(fields: object = {}) {
  return { name: 'features', datatype: 'FP32', shape: [COUNT, 1], ...fields };
}

suite('a message of an inference', () => {
  test('counts what is beside its values, raw or packed', () => {
    const names = encode({ model_name: 'flow', id: '7', inputs: [input()] }).length;
    const raw = encode({
      model_name: 'flow',
      id: '7',
      inputs: [input()],
      raw_input_contents: [Buffer.alloc(COUNT, 42)],
    });
    assert.equal(envelopeBytes(raw), names + 4, 'a tag and three bytes of length');
    const contents = { fp32_contents: new Array<number>(COUNT).fill(1) };
    const typed = encode({ model_name: 'flow', id: '7', inputs: [input({ contents })] });
    assert.ok(envelopeBytes(typed) < names + 16);
    assert.doesNotThrow(() => ModelInfer?.requestDeserialize(typed));
  });

  const bombs: readonly (readonly [string, Buffer])[] = [
    ['empty inputs', Buffer.alloc(2 * COUNT, Buffer.from([0x2a, 0]))],
    ['empty outputs', Buffer.alloc(2 * COUNT, Buffer.from([0x32, 0]))],
    ['empty raw contents', Buffer.alloc(2 * COUNT, Buffer.from([0x3a, 0]))],
    ['a long shape', encode({ inputs: [{ shape: new Array<number>(COUNT).fill(0) }] })],
    [
      'contents of another type',
      encode({ inputs: [{ contents: { bytes_contents: new Array(COUNT).fill(Buffer.alloc(0)) } }] }),
    ],
    [
      'a length of five bytes',
      Buffer.concat([Buffer.from([0x3a, 255, 255, 255, 255, 1]), Buffer.alloc(COUNT)]),
    ],
    ['a wire type that is not the field’s', Buffer.alloc(2 * COUNT, Buffer.from([0x38, 0]))],
  ];
  for (const [what, bytes] of bombs) {
    test(`is not decoded where it is made of ${what}`, () => {
      assert.ok(envelopeBytes(bytes) >= COUNT);
      for (const method of [ModelInfer, ModelStreamInfer]) {
        assert.throws(() => method?.requestDeserialize(bytes), { code: 'server.body-too-large' });
      }
    });
  }
});
