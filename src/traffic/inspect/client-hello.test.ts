import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, u16 } from '../../../test/support/packets.ts';
import { readClientHello } from './client-hello.ts';

type Extension = readonly [number, readonly number[]];

const numbers = (values: string) => values.split(',').flatMap((value) => u16(Number.parseInt(value, 16)));
const sni = (name: string): Extension => {
  const bytes = [...Buffer.from(name, 'latin1')];
  return [0, [...u16(bytes.length + 3), 0, ...u16(bytes.length), ...bytes]];
};
const alpn = (...protocols: readonly (readonly number[])[]): Extension => {
  const list = protocols.flatMap((protocol) => [protocol.length, ...protocol]);
  return [16, [...u16(list.length), ...list]];
};
const text = (value: string) => [...Buffer.from(value)];
const algorithms = (values: string): Extension => [13, [...u16(numbers(values).length), ...numbers(values)]];
const versions = (values: string): Extension => [43, [numbers(values).length, ...numbers(values)]];

function hello(
  ciphers: string,
  extensions: readonly Extension[] | undefined,
  { version = 0x0303 } = {},
): Uint8Array<ArrayBuffer> {
  const list = extensions?.flatMap(([type, value]) => [...u16(type), ...u16(value.length), ...value]) ?? [];
  const suites = ciphers === '' ? [] : numbers(ciphers);
  const body = concat(
    u16(version),
    new Uint8Array(32),
    [0],
    [...u16(suites.length), ...suites],
    [1, 0],
    extensions === undefined ? [] : [...u16(list.length), ...list],
  );
  return concat([0x16, 3, 1, ...u16(body.length + 4), 1, 0, ...u16(body.length)], body);
}
const read = (bytes: Uint8Array) => readClientHello(bytes, 0, bytes.length);

/** The example of FoxIO's description, with its order of ciphers and extensions and GREASE added. */
const EXAMPLE_CIPHERS = '2a2a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035';
const EXAMPLE_ORDER =
  '5a5a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,fafa,0015';
const EXAMPLE_EXTENSIONS = EXAMPLE_ORDER.split(',').map((hex): Extension => {
  const type = Number.parseInt(hex, 16);
  if (type === 0) return sni('example.com');
  if (type === 16) return alpn(text('h2'), text('http/1.1'));
  if (type === 13) return algorithms('0403,0804,0401,0503,0805,0501,0806,0601');
  if (type === 43) return versions('1a1a,0304,0303');
  return [type, []];
});

test('gives the JA4 of the example in its description', () => {
  const result = read(hello(EXAMPLE_CIPHERS, EXAMPLE_EXTENSIONS));
  assert.equal(result?.ja4, 't13d1516h2_8daaf6152771_e5627efa2ab1');
  assert.deepEqual([result?.serverName?.text, result?.serverName?.length], ['example.com', 11]);
});

test('hashes extensions without signature algorithms without an underscore', () => {
  const without = EXAMPLE_EXTENSIONS.map(([type, value]): Extension => [type, type === 13 ? [0, 0] : value]);
  assert.equal(read(hello(EXAMPLE_CIPHERS, without))?.ja4, 't13d1516h2_8daaf6152771_6d807ffa2a79');
});

test('writes twelve zeros where there is nothing to hash', () => {
  assert.equal(read(hello('', undefined))?.ja4, 't12i000000_000000000000_000000000000');
  const named = read(hello('', [sni('a.b'), alpn(text('h2'))]));
  assert.equal(named?.ja4, 't12d0002h2_000000000000_000000000000');
});

const ALPNS: readonly (readonly [string, readonly number[]])[] = [
  ['h2', text('h2')],
  ['h1', text('http/1.1')],
  ['aa', text('a')],
  ['ab', [0xab]],
  ['ad', [0xab, 0xcd]],
  ['3b', [0x30, 0xab]],
  ['3d', [0x30, 0x31, 0xab, 0xcd]],
  ['01', [0x30, 0xab, 0xcd, 0x31]],
  ['00', []],
];
for (const [expected, protocol] of ALPNS) {
  test(`writes the protocol ${JSON.stringify(Buffer.from(protocol).toString('hex'))} as ${expected}`, () => {
    assert.equal(read(hello('1301', [alpn(protocol)]))?.ja4?.slice(8, 10), expected);
  });
}

test('takes the highest supported version, else that of the hello', () => {
  const version = (extensions: readonly Extension[], legacy: number) =>
    read(hello('1301', extensions, { version: legacy }))?.ja4?.slice(1, 3);
  assert.equal(version([versions('dada,0303,0304,0302')], 0x0303), '13');
  assert.deepEqual(
    [0x0303, 0x0302, 0x0301, 0x0300, 0x0202].map((legacy) => version([], legacy)),
    ['12', '11', '10', 's3', '00'],
  );
});

test('counts up to 99', () => {
  const many = Array.from({ length: 120 }, (_, i) => (i + 1).toString(16).padStart(4, '0')).join(',');
  assert.equal(read(hello(many, []))?.ja4?.slice(4, 6), '99');
});

test('of a hello that goes on in another segment keeps the name and makes no JA4', () => {
  const bytes = hello(EXAMPLE_CIPHERS, [sni('cut.example'), [21, new Array<number>(2000).fill(0)]]);
  const cut = readClientHello(bytes, 0, 1400);
  assert.deepEqual([cut?.isWhole, cut?.serverName?.text, cut?.ja4], [false, 'cut.example', undefined]);
  assert.deepEqual(readClientHello(bytes, 0, 40), { isWhole: false, serverName: undefined, ja4: undefined });
});

test('escapes what is no printable character in a server name', () => {
  assert.equal(
    read(hello('1301', [sni('A b\u0007\u00ff\\')]))?.serverName?.text,
    String.raw`a\032b\007\255\\`,
  );
  assert.equal(read(hello('1301', [sni('x'.repeat(1000))]))?.serverName?.text.length, 255);
});

test('takes no other record, and no list longer than what holds it', () => {
  const good = hello('1301', [sni('a.b')]);
  for (const [at, value] of [
    [0, 0x17],
    [1, 2],
    [5, 2],
  ] as const) {
    const other = Uint8Array.from(good);
    other[at] = value;
    assert.equal(read(other), undefined);
  }
  const ciphersAt = 9 + 34 + 1;
  const long = Uint8Array.from(good);
  long.set([255, 255], ciphersAt);
  assert.equal(read(long), undefined);
});

test('reads nothing outside the bytes it was given, at every length', () => {
  const bytes = hello(EXAMPLE_CIPHERS, EXAMPLE_EXTENSIONS);
  for (let length = 0; length <= bytes.length; length++) {
    const alone = readClientHello(bytes.slice(0, length), 0, length);
    const within = concat(
      new Uint8Array(5).fill(255),
      bytes.subarray(0, length),
      new Uint8Array(200).fill(1),
    );
    assert.deepEqual(readClientHello(within, 5, 5 + length), alone, `length ${length}`);
  }
});

test('takes changed bytes without throwing, and never lets a control character out', () => {
  const bytes = hello(EXAMPLE_CIPHERS, EXAMPLE_EXTENSIONS);
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 8 }), (changes) => {
      const hostile = Uint8Array.from(bytes);
      for (const [at, value] of changes) hostile[at] = value;
      const result = read(hostile);
      assert.match(result?.serverName?.text ?? '', /^[\x21-\x7e]{0,255}$/);
      assert.match(result?.ja4 ?? 't', /^t[\x21-\x7e]{0,35}$/);
    }),
    { numRuns: 3000 },
  );
});
