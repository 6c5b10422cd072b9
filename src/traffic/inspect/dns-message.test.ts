import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, u16, u32 } from '../../../test/support/packets.ts';
import { readDnsMessage } from './dns-message.ts';
import { NameMemory } from './name-memory.ts';

const label = (text: string) => [text.length, ...Buffer.from(text, 'latin1')];
const name = (text: string) => [...text.split('.').flatMap(label), 0];
const question = (text: string, type = 1) => [...name(text), ...u16(type), ...u16(1)];
const header = (flags: number, questions: number, answers = 0) => [
  ...u16(7),
  ...u16(flags),
  ...u16(questions),
  ...u16(answers),
  ...u32(0),
];
const answer = (ttl: number, owner = [0xc0, 12], data: readonly number[] = [1, 2, 3, 4]) => [
  ...owner,
  ...u16(1),
  ...u16(1),
  ...u32(ttl),
  ...u16(data.length),
  ...data,
];
const read = (...parts: readonly (readonly number[])[]) => {
  const bytes = concat(...parts);
  return readDnsMessage(bytes, 0, bytes.length);
};

test('reads a query: name, length, labels, type', () => {
  const message = read(header(0x0100, 1), question('www.Example.com', 28));
  assert.ok(message);
  assert.equal(message.isResponse, false);
  const [first] = message.questions;
  assert.deepEqual(
    [first?.name.text, first?.name.length, first?.name.labels, first?.type],
    ['www.example.com', 15, 3, 28],
  );
});

test('gives the Shannon entropy of a name in lower case', () => {
  const entropy = (text: string) =>
    read(header(0, 1), question(text))?.questions[0]?.name.entropy ?? Number.NaN;
  assert.equal(entropy('aaaa'), 0);
  assert.equal(entropy('aAbB'), 1);
  assert.ok(Math.abs(entropy('abcdefgh') - 3) < 1e-12);
});

test('reads a response: code, answers, smallest time to live', () => {
  const message = read(header(0x8183, 1, 2), question('a.b'), answer(300), answer(60));
  assert.deepEqual(
    [message?.isResponse, message?.responseCode, message?.answers, message?.ttlMin],
    [true, 3, 2, 60],
  );
  assert.equal(read(header(0x8180, 1, 1), question('a.b'), answer(0x80000001))?.ttlMin, 0);
  assert.ok(Number.isNaN(read(header(0x8180, 1, 0), question('a.b'))?.ttlMin));
});

test('counts the answers that are there, not those the header claims', () => {
  const whole = concat(header(0x8180, 1, 65_535), question('a.b'), answer(300), answer(60));
  assert.equal(readDnsMessage(whole, 0, whole.length)?.answers, 2);
  assert.equal(readDnsMessage(whole, 0, whole.length - 20)?.answers, 1);
  const many = read(header(0x8180, 1, 500), question('a.b'), ...Array.from({ length: 500 }, () => answer(9)));
  assert.equal(many?.answers, 64);
});

test('follows compression backwards and refuses loops and pointers ahead', () => {
  const second = [...label('mail'), 0xc0, 12, ...u16(1), ...u16(1)];
  assert.equal(read(header(0, 2), question('a.b'), second)?.questions[1]?.name.text, 'mail.a.b');
  assert.equal(read(header(0, 1), [0xc0, 12, 0, 1, 0, 1]), undefined, 'points at itself');
  assert.equal(read(header(0, 1), [0xc0, 14, 0xc0, 12, 0, 1, 0, 1]), undefined, 'points ahead');
  assert.equal(read(header(0, 1), [1, 97, 0xc0, 12, 0, 1, 0, 1]), undefined, 'grows for ever');
  assert.equal(read(header(0, 1), [0xc0, 2, 0, 1, 0, 1]), undefined, 'points into the header');
});

test('refuses names of more than 255 octets and labels of unknown kind', () => {
  const long = Array.from({ length: 4 }, () => 'x'.repeat(62)).join('.');
  assert.equal(read(header(0, 1), question(long))?.questions[0]?.name.length, 251);
  assert.equal(read(header(0, 1), question(`${long}.y`))?.questions[0]?.name.length, 253);
  assert.equal(read(header(0, 1), question(`${long}.yy`)), undefined);
  assert.equal(read(header(0, 1), [0x40, 1, 0, 0, 1, 0, 1]), undefined);
});

test('lets no control character, dot or half character of a label through', () => {
  const text = read(header(0, 1), question('a\u0000\u001b\\\u00e9'))?.questions[0]?.name.text;
  assert.equal(text, String.raw`a\000\027\\\233`);
  const dotted = read(header(0, 1), [3, 97, 46, 98, 0, 0, 1, 0, 1]);
  assert.deepEqual(
    [dotted?.questions[0]?.name.text, dotted?.questions[0]?.name.labels],
    [String.raw`a\.b`, 1],
  );
  const zeros = read(header(0, 1), question('\u0000'.repeat(63)), []);
  assert.equal(zeros?.questions[0]?.name.text.length, 252);
  const more = read(header(0, 1), question(`${'\u0000'.repeat(63)}.${'\u0000'.repeat(63)}`));
  assert.equal(more?.questions[0]?.name.text.length, 255);
});

test('reads the root as an empty name, and takes what asks nothing for no query', () => {
  const root = read(header(0, 1), [0, ...u16(2), ...u16(1)]);
  assert.deepEqual([root?.questions[0]?.name.text, root?.questions[0]?.name.labels], ['', 0]);
  assert.equal(read(header(0, 0)), undefined);
  assert.equal(read(header(0, 33)), undefined);
  assert.equal(
    read(header(0x8400, 0, 1), answer(120, name('x.local')))?.answers,
    1,
    'mDNS answers ask nothing',
  );
});

test('survives truncation at every length and never reads outside', () => {
  const bytes = concat(header(0x8180, 1, 2), question('www.example.com'), answer(300), answer(60));
  for (let length = 0; length <= bytes.length; length++) {
    const alone = readDnsMessage(bytes.slice(0, length), 0, length);
    const within = concat(
      new Uint8Array(9).fill(255),
      bytes.subarray(0, length),
      new Uint8Array(300).fill(97),
    );
    assert.deepEqual(readDnsMessage(within, 9, 9 + length), alone, `length ${length}`);
  }
});

test('says the same of a name that it remembers', () => {
  const known = new NameMemory();
  const names = ['a', 'a.b', 'A.b', 'www.example.com', 'x'.repeat(62), 'x'.repeat(63)];
  const asked = fc.array(fc.constantFrom(...names, `${'y'.repeat(60)}.z`, `${'y'.repeat(60)}.zz`), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(asked, fc.nat(60), (texts, cut) => {
      const bytes = concat(header(0, texts.length), ...texts.map((text) => question(text)));
      const end = cut === 0 ? bytes.length : Math.max(0, bytes.length - cut);
      assert.deepEqual(readDnsMessage(bytes, 0, end, known), readDnsMessage(bytes, 0, end));
    }),
    { numRuns: 2000 },
  );
  known.wipe();
  assert.equal(known.find(concat(name('a.b')), 0, 5), undefined);
});

test('takes random bytes without throwing, in bounds', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 12, maxLength: 600 }), fc.nat(3), (random, questions) => {
      const bytes = Uint8Array.from(random);
      bytes.set(u16(questions), 4);
      const message = readDnsMessage(bytes, 0, bytes.length);
      if (message === undefined) return;
      assert.ok(message.answers <= 64);
      for (const asked of message.questions) {
        assert.ok(asked.name.text.length <= 255 && asked.name.length <= 253 && asked.name.labels <= 127);
        assert.match(asked.name.text, /^[\x21-\x7e]*$/);
      }
    }),
    { numRuns: 3000 },
  );
});
