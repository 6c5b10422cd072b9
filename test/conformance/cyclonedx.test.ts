import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { canonicalJson } from '../../src/crypto/index.ts';
import { makeCandidate, openHouse } from '../support/registry-fixture.ts';
import { requireData } from '../support/requires.ts';

const ADA = { principal: 'ada' };

describe('the ML-BOM', () => {
  test('is valid CycloneDX 1.6, names every file by digest, and is the same each time', async (t) => {
    const schemas = requireData(t, 'vectors/cyclonedx');
    if (schemas === undefined) return;
    const read = (name: string) => JSON.parse(readFileSync(join(schemas, name), 'utf8'));
    const ajv = new Ajv({ strict: false, allErrors: true });
    // The packages export a function under a default that CommonJS gives twice.
    (formats as unknown as (ajv: Ajv) => void)(ajv);
    for (const format of ['iri-reference', 'idn-email']) ajv.addFormat(format, true);
    ajv.addSchema(read('spdx.schema.json'), 'http://cyclonedx.org/schema/spdx.schema.json');
    ajv.addSchema(read('jsf-0.82.schema.json'), 'http://cyclonedx.org/schema/jsf-0.82.schema.json');
    const validate = ajv.compile(read('bom-1.6.schema.json'));
    const folder = mkdtempSync(join(tmpdir(), 'bom-'));
    const house = await openHouse(folder);
    try {
      const { registry } = house;
      await registry.publish(makeCandidate({ seed: 1 }), ADA);
      await registry.promote('flow', '1.0.0', 'champion', ADA);
      await registry.publish(makeCandidate({ seed: 2, passed: false }), ADA);
      for (const version of ['1.0.0', '1.1.0']) {
        const bom = await registry.custody.bom('flow', version);
        assert.equal(validate(bom), true, JSON.stringify(validate.errors));
        assert.equal(canonicalJson(bom), canonicalJson(await registry.custody.bom('flow', version)));
      }
      const text = JSON.stringify(await registry.custody.bom('flow', '1.0.0'));
      const { manifest } = await registry.show('flow@1.0.0');
      for (const digest of [manifest.weights.digest, manifest.schemaId, manifest.dataDigest]) {
        assert.ok(text.includes(digest.slice(7)), digest);
      }
      await registry.custody.erase('flow', '1.1.0', { reason: 'test' }, ADA);
      assert.equal(validate(await registry.custody.bom('flow', '1.1.0')), true);
      assert.equal(validate({ ...(await registry.custody.bom('flow', '1.0.0')), specVersion: 7 }), false);
    } finally {
      await house.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the model card', () => {
  test('is the same each time and lets nothing that was typed become markup', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'card-'));
    const house = await openHouse(folder);
    try {
      const candidate = makeCandidate();
      const provenance = {
        ...candidate.provenance,
        trainer: '<script>alert(1)</script> | [x](http://evil) `',
        configuration: { note: '` | <b>\u2028# head' },
      };
      await house.registry.publish({ ...candidate, provenance }, { principal: 'a|b\n# c' });
      const card = await house.registry.custody.card('flow', '1.0.0');
      assert.equal(card, await house.registry.custody.card('flow', '1.0.0'));
      assert.doesNotMatch(card, /<script|\]\(http|^# c|^# head/m);
      assert.match(card, /\| accuracy \| passed \| 0\.9 \| at least 0\.8 \|/);
      assert.match(card, /\| accuracy \| 0\.9 \| 0\.89 to 0\.91 \|/);
    } finally {
      await house.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
