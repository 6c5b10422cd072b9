import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { randomRows } from '../../test/support/random-model.ts';
import { type House, makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { ManualClock, SeededRandom } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import { VerifiedModel } from '../registry/index.ts';
import { Engine } from './engine.ts';

const ROWS = 40;

suite('the engine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'engine-'));
  const clock = new ManualClock();
  let house: House;
  let first: VerifiedModel;
  let second: VerifiedModel;

  before(async () => {
    house = await openHouse(folder, clock);
    for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), { principal: 'test' });
    first = await house.registry.verify('flow@1.0.0');
    second = await house.registry.verify('flow@1.1.0');
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  function batch(): FeatureBatch {
    const values = randomRows(new SeededRandom(3), ROWS);
    return { schemaId: first.schemaId, sourceKind: 'packets', rows: ROWS, columns: 3, values, rejected: [] };
  }

  test('serves a verified model and gives what the model gives', async () => {
    const engine = new Engine({ clock, config: { batchSize: 16 } });
    await engine.load(first);
    assert.deepEqual(engine.current(), {
      name: 'flow',
      version: '1.0.0',
      digest: first.digest,
      schemaId: first.schemaId,
      sourceKinds: ['packets'],
      certificate: 'absent',
    });
    const out = { probability: new Float32Array(ROWS), kind: new Int16Array(ROWS) };
    first.model.score(batch().values, ROWS, out);
    const scores = await engine.score(batch());
    assert.deepEqual(
      Float32Array.from(scores, ({ probability }) => probability),
      out.probability,
    );
  });

  test('swaps to another version under the same name', async () => {
    const engine = new Engine({ clock });
    await engine.load(first);
    await engine.load(second);
    assert.equal(engine.current('flow')?.version, '1.1.0');
    assert.equal((await engine.score(batch()))[0]?.model.version, '1.1.0');
  });

  const impostors: readonly (readonly [string, () => unknown])[] = [
    ['nothing', () => undefined],
    ['a copy of a verified model', () => ({ ...first })],
    ['an object with its prototype', () => Object.assign(Object.create(VerifiedModel.prototype), first)],
    ['an object made from its prototype alone', () => Object.create(VerifiedModel.prototype)],
    ['a proxy of a verified model', () => new Proxy(first, {})],
    ['an object that inherits from a verified model', () => Object.create(first)],
    ['the bare model', () => first.model],
  ];
  for (const [name, make] of impostors) {
    test(`refuses ${name}`, async () => {
      const engine = new Engine({ clock });
      await assert.rejects(engine.load(make() as VerifiedModel), {
        code: 'inference.not-verified',
        category: 'security',
        retry: false,
      });
      assert.equal(engine.current(), undefined);
      await assert.rejects(engine.score(batch()), { code: 'inference.no-model' });
    });
  }

  test('refuses a model of a schema it was not built for and keeps the one before', async () => {
    const engine = new Engine({ clock, schemaIds: [`sha256:${'0'.repeat(64)}`] });
    await assert.rejects(engine.load(first), { code: 'inference.schema-mismatch' });
    assert.equal(engine.current(), undefined);
    const other = new Engine({ clock, schemaIds: [first.schemaId] });
    await other.load(first);
    assert.equal(other.current()?.version, '1.0.0');
  });
});
