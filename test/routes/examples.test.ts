import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { MemoryBus } from '../../src/bus/index.ts';
import { EXAMPLES } from '../../src/server/examples.ts';
import { buildServer, openApiDocument } from '../../src/server/index.ts';
import { flowCandidate, openServedHouse } from '../support/served-guardian.ts';

interface Operation {
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly schema: object;
    readonly example?: string | number;
  }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: object; readonly example?: unknown }>>;
  };
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

suite('the examples of the OpenAPI document', () => {
  test('are what their schemas say, and answered as the document says', async () => {
    const house = await openServedHouse({ now: Date.UTC(2026, 10, 23, 12) });
    await house.guardian.joinBus(async () => new MemoryBus());
    const app = await buildServer(house.guardian, { trust: 'local' });
    const ajv = new Ajv2020({ strict: false, logger: false });
    try {
      await house.guardian.registry.publish(flowCandidate(house.schema, 'flow', 0.1), { principal: 'ada' });
      // In the order of the table of examples, not of the document: a promotion comes before its rollback.
      for (const key of Object.keys(EXAMPLES)) {
        const [method = '', pattern = ''] = key.split(' ');
        const path = pattern.replaceAll(/:([a-z]+)/g, '{$1}');
        const operation = openApiDocument().paths[path]?.[method.toLowerCase()] as Operation;
        const query = new URLSearchParams();
        let url = path;
        for (const { name, in: place, schema, example } of operation.parameters) {
          if (example === undefined) continue;
          assert.ok(ajv.validate(schema, numberOf(schema, example)), `${key} ${name}: ${ajv.errorsText()}`);
          if (place === 'path') url = url.replace(`{${name}}`, encodeURIComponent(example));
          else query.set(name, String(example));
        }
        const body = operation.requestBody?.content['application/json'];
        if (body !== undefined)
          assert.ok(ajv.validate(body.schema, body.example), `${key}: ${ajv.errorsText()}`);
        const response = await app.inject({
          method: method as 'GET' | 'POST',
          url: `${url}?${query}`,
          ...(body && {
            payload: JSON.stringify(body.example),
            headers: { 'content-type': 'application/json' },
          }),
        });
        const said = operation.responses[String(response.statusCode)]?.content['application/json'];
        assert.ok(said !== undefined, `${key}: ${response.statusCode} ${response.body}`);
        assert.ok(ajv.validate(said.schema, response.json()), `${key}: ${ajv.errorsText()}`);
      }
      assert.equal(
        Object.keys(EXAMPLES).length,
        examplesIn(),
        'an example stands under a route that has no place for it',
      );
    } finally {
      await app.close();
      await house.close();
    }
  });
});

/** Operations of the document with an example anywhere in them. */
function examplesIn(): number {
  return Object.values(openApiDocument().paths)
    .flatMap((methods) => Object.values(methods) as Operation[])
    .filter(({ parameters, requestBody }) => JSON.stringify([parameters, requestBody]).includes('"example":'))
    .length;
}

/** A path is text, whatever its schema. */
function numberOf(schema: { readonly type?: unknown }, example: string | number): unknown {
  return schema.type === 'integer' || schema.type === 'number' ? Number(example) : example;
}
