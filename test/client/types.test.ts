import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { openApiDocument } from '../../src/server/index.ts';
import { CLIENT_TYPES, renderClientTypes, typeOf } from '../support/client-types.ts';

suite('the types of the client', () => {
  test('are those of the OpenAPI document; `npm run docs` writes them anew', () => {
    const written = readFileSync(new URL(`../../${CLIENT_TYPES}`, import.meta.url), 'utf8');
    assert.equal(written, renderClientTypes(openApiDocument()), 'run `npm run docs`');
  });

  test('follow each form of schema, and are not guessed where a form is unknown', () => {
    assert.equal(typeOf({ const: 'a' }), "'a'");
    assert.equal(typeOf({ enum: ['a', 1] }), "'a' | 1");
    assert.equal(typeOf({ type: ['string', 'null'] }), 'string | null');
    assert.equal(typeOf({ anyOf: [{ type: 'integer' }, { type: 'number' }] }), 'number');
    assert.equal(typeOf({ type: 'array', items: { type: 'boolean' } }), 'readonly (boolean)[]');
    assert.equal(
      typeOf({ type: 'object', properties: { a: { type: 'null' }, 'b-c': {} }, required: ['a'] }),
      "{ a: null;\n'b-c'?: unknown }",
    );
    assert.throws(() => typeOf({ type: 'tuple' }), /no type/);
  });
});
