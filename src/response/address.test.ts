import '../../test/support/seed.ts';
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { networkContains, parseAddress, parseNetwork } from './address.ts';

suite('an address', () => {
  const canonical: readonly (readonly [string, string])[] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:C000:0207', '192.0.2.7'],
    ['0:0:0:0:0:ffff:192.0.2.7', '192.0.2.7'],
    ['64:ff9b::192.0.2.7', '64:ff9b::c000:207'],
  ];
  for (const [text, expected] of canonical) {
    test(`${text} is ${expected}`, () => assert.equal(parseAddress(text)?.text, expected));
  }

  const refused = [
    '.',
    '',
    '-',
    '(empty)',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '0x7f.0.0.1',
    '2130706433',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4\n',
    '1.2.3.4:80',
    '1.2.3.4/32',
    '[::1]',
    'fe80::1%eth0',
    '1::2::3',
    ':::',
    '12345::',
    '1:2:3:4:5:6:7:8:9',
    '１.2.3.4',
  ];
  for (const text of refused) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseAddress(text), undefined));
  }

  test('keeps its bytes through its canonical text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const once = parseAddress(text);
        assert.ok(once !== undefined, text);
        assert.deepEqual(parseAddress(once.text), once);
      }),
    );
  });
});

suite('a network', () => {
  const refused = [
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '2001:db8::1/32',
    '::/129',
    '/8',
    '10.0.0.0/8 ',
  ];
  for (const text of refused) {
    test(`${JSON.stringify(text)} is none`, () => assert.equal(parseNetwork(text), undefined));
  }

  const members: readonly (readonly [string, string, boolean])[] = [
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['192.0.2.128/25', '192.0.2.128', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.6', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['::/0', '2001:db8::1', true],
  ];
  for (const [network, address, expected] of members) {
    test(`${network} ${expected ? 'contains' : 'does not contain'} ${address}`, () => {
      const parsed = parseNetwork(network);
      const member = parseAddress(address);
      assert.ok(parsed !== undefined && member !== undefined);
      assert.equal(networkContains(parsed, member), expected);
    });
  }

  test('agrees with whole-number arithmetic for IPv4', () => {
    const word = fc.integer({ min: 0, max: 0xffffffff });
    const dotted = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.');
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 32 }), (a, b, prefix) => {
        const size = 2 ** (32 - prefix);
        const network = parseNetwork(`${dotted(Math.floor(a / size) * size)}/${prefix}`);
        const address = parseAddress(dotted(b));
        assert.ok(network !== undefined && address !== undefined);
        assert.equal(networkContains(network, address), Math.floor(a / size) === Math.floor(b / size));
      }),
    );
  });
});
