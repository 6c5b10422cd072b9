import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, parseCanonicalJson } from './canonical-json.ts';

test('writes the number and string sample of RFC 8785 section 3.2.2', () => {
  const input = JSON.parse(`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
    "literals": [null, true, false]
  }`);
  assert.equal(
    canonicalJson(input),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
      '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

test('sorts members by UTF-16 code units, as the sample of RFC 8785 section 3.2.3', () => {
  const input = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    '1': 'One',
    '\u{1f600}': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    '\u00f6': 'Latin Small Letter O With Diaeresis',
  };
  const names = Object.values(JSON.parse(canonicalJson(input)) as Record<string, string>);
  // JSON.parse moves the integer-like "1" to the front, so the text is looked at as well.
  assert.ok(canonicalJson(input).startsWith('{"\\r":"Carriage Return","1":"One","\u0080":"Control"'));
  assert.deepEqual(names.slice(-4), [
    'Latin Small Letter O With Diaeresis',
    'Euro Sign',
    'Emoji: Grinning Face',
    'Hebrew Letter Dalet With Dagesh',
  ]);
});

test('writes the doubles of RFC 8785 appendix B', () => {
  const samples: readonly (readonly [string, string])[] = [
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
  ];
  for (const [bits, text] of samples) {
    assert.equal(canonicalJson(Buffer.from(bits, 'hex').readDoubleBE()), text);
  }
});

test('refuses what json cannot hold instead of dropping or changing it', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = [cycle];
  let deep: unknown = 0;
  for (let i = 0; i < 300; i++) deep = [deep];
  const sparse = [1];
  sparse[2] = 3;
  const bad: Record<string, unknown> = {
    nan: Number.NaN,
    infinity: -Infinity,
    undefined: undefined,
    member: { a: undefined },
    hole: sparse,
    bigint: 1n,
    function: () => 1,
    symbol: Symbol('s'),
    surrogate: 'a\ud800',
    name: { '\udc00': 1 },
    cycle,
    deep,
    date: new Date(0),
    map: new Map(),
    bytes: new Uint8Array(2),
  };
  for (const [name, value] of Object.entries(bad)) {
    assert.throws(() => canonicalJson(value), { code: 'crypto.not-canonical' }, name);
  }
  const shared = { a: 1 };
  assert.equal(canonicalJson([shared, shared]), '[{"a":1},{"a":1}]', 'the same object twice is no cycle');
});

test('reads back what it wrote, whatever the order of members', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      assert.equal(canonicalJson(parseCanonicalJson(text)), text);
      assert.equal(canonicalJson(reversed(value)), text);
    }),
    { seed: 8785, numRuns: 300 },
  );
});

test('parses no text but the canonical one', () => {
  for (const text of [
    '{"a":1, "b":2}',
    '{"b":1,"a":2}',
    '{"a":1,"a":1}',
    '1.0',
    '"\\u0041"',
    ' 1',
    '',
    '{',
  ]) {
    assert.throws(() => parseCanonicalJson(text), { code: 'crypto.not-canonical' }, text);
  }
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  // Without a prototype, so that a member named __proto__ is one.
  const out: Record<string, unknown> = Object.create(null);
  for (const [key, item] of Object.entries(value).reverse()) out[key] = reversed(item);
  return out;
}
