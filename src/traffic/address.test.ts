import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIpv4, formatIpv6, parseAddress } from './address.ts';

test('writes addresses in canonical form (RFC 5952)', () => {
  const rows = [
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['192.0.2.1', '192.0.2.1'],
  ];
  for (const [text = '', canonical] of rows) assert.equal(parseAddress(text)?.text, canonical, text);
});

test('refuses what is no address', () => {
  const texts = [
    '',
    '.',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.4/8',
    ':',
    ':::',
    '1::2::3',
    'fe80::1%eth0',
  ];
  texts.push(
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '::1.2.3',
    '1:2',
    'a'.repeat(99),
  );
  for (const text of texts) assert.equal(parseAddress(text), undefined, text);
});

test('reads back every address it writes', () => {
  const word = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffffffff));
  fc.assert(
    fc.property(word, word, word, word, (a, b, c, d) => {
      const text = formatIpv6(a, b, c, d);
      assert.deepEqual(parseAddress(text), { text, version: 6, words: [a, b, c, d] });
      assert.deepEqual(parseAddress(formatIpv4(a)), { text: formatIpv4(a), version: 4, words: [a, 0, 0, 0] });
    }),
  );
  fc.assert(fc.property(fc.string({ maxLength: 50 }), (text) => void parseAddress(text)));
});
