import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import '../../test/support/seed.ts';
import { loadSchema } from './load-schema.ts';
import { TEXT_TRANSFORMS } from './schema-limits.ts';
import { deriveFromText } from './text-transforms.ts';

describe('numbers from a domain name', () => {
  const name = 'mail.ab12-cdf.example7.co.uk';
  const vectors: readonly (readonly [string, (typeof TEXT_TRANSFORMS)[number], number])[] = [
    [name, 'length', 28],
    [name, 'label-count', 5],
    [name, 'longest-label-length', 8],
    [name, 'registered-length', 8],
    [name, 'suffix-length', 2],
    ['localhost', 'suffix-length', 0],
    ['localhost', 'registered-length', 9],
    ['aabb.com', 'shannon-entropy', 1],
    ['abcdefgh.com', 'shannon-entropy', 3],
    ['aabb.com', 'distinct-ratio', 0.5],
    ['a1b2.com', 'digit-ratio', 0.5],
    ['a1e2b.com', 'vowel-ratio', 2 / 3],
    ['1234.com', 'vowel-ratio', 0],
    ['a-b_.com', 'hyphen-ratio', 0.5],
    ['strengths.com', 'max-consonant-run', 5],
    ['a12b345.com', 'max-digit-run', 3],
    ['a12b345.com', 'letter-digit-changes', 3],
    ['the.com', 'common-bigram-ratio', 1],
    ['xqz.com', 'common-bigram-ratio', 0],
    ['', 'label-count', 0],
    ['', 'shannon-entropy', 0],
  ];
  for (const [text, transform, expected] of vectors) {
    test(`${transform} of ${JSON.stringify(text)} is ${expected}`, () => {
      assert.equal(deriveFromText(text, transform), expected);
    });
  }

  test('do not depend on case or a final dot, and stay in the range of the schema', async () => {
    const { schema } = await loadSchema('dga');
    assert.deepEqual(schema.columns.map((column) => column.transform).sort(), [...TEXT_TRANSFORMS].sort());
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.string({ maxLength: 253 })), (text) => {
        for (const { transform, range } of schema.columns) {
          if (transform === 'none' || transform === 'log1p') continue;
          const value = deriveFromText(text, transform);
          assert.ok(value >= (range?.[0] ?? 0) && value <= (range?.[1] ?? 0), `${transform} ${value}`);
          if (/^[\w.-]*[\w-]$/.test(text)) {
            assert.equal(deriveFromText(`${text.toUpperCase()}.`, transform), value);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
