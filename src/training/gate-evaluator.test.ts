import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { flowCandidate, openServedHouse, type ServedHouse } from '../../test/support/served-guardian.ts';
import { ManualClock } from '../base/index.ts';
import { loadSchema, schemaBytes } from '../features/index.ts';
import { writeLab } from '../lab/index.ts';
import { createGateEvaluator, scoreDrift } from './gate-evaluator.ts';

const OPERATOR = { principal: 'operator' };

let folder: string;
let house: ServedHouse;
const files = () => ({ path: join(folder, 'lab.pcap'), labels: join(folder, 'labels.csv') });
const evaluator = createGateEvaluator({ gates: { minAccuracy: 0 }, meter: {}, clock: new ManualClock() });

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'evaluator-'));
  house = await openServedHouse();
  const { path, labels } = files();
  await writeLab({ out: path, labels, seed: 5, seconds: 20 });
});

after(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the evaluator', () => {
  test('reads flows with their labels and tells their digest, which a changed byte changes', async () => {
    const schema = schemaBytes(house.schema.schema);
    const facts = await evaluator.inspect(files(), schema);
    assert.ok(facts.rows > 20 && facts.attacks > 0 && facts.attacks < facts.rows, JSON.stringify(facts));
    assert.deepEqual(await evaluator.inspect(files(), schema), facts);
    const labels = join(folder, 'other.csv');
    writeFileSync(labels, `${readFileSync(files().labels, 'utf8')}\n`);
    assert.notEqual((await evaluator.inspect({ ...files(), labels }, schema)).digest, facts.digest);
    await assert.rejects(evaluator.inspect({ path: files().path }, schema), {
      code: 'training.table-invalid',
    });
  });

  test('reads a table by its schema', async () => {
    const { schema } = await loadSchema('nsl-kdd');
    const path = join(folder, 'nsl.csv');
    const row = (service: string, label: string) =>
      `0,tcp,${service},SF,181,5450,${'0,'.repeat(5)}1${',0'.repeat(10)},8,8,0,0,0,0,1,0,0,9,9,1,0,0.11,0,0,0,0,0,${label},20`;
    writeFileSync(path, `${row('http', 'normal')}\n${row('private', 'neptune')}\n`);
    const facts = await evaluator.inspect({ path }, schemaBytes(schema));
    assert.deepEqual([facts.rows, facts.attacks], [2, 1]);
  });

  test('refuses what is no plain file, which might never end', async () => {
    const fifo = join(folder, 'pipe');
    execFileSync('mkfifo', [fifo]);
    const flows = schemaBytes(house.schema.schema);
    const table = schemaBytes((await loadSchema('nsl-kdd')).schema);
    const refused = { code: 'training.table-invalid' };
    for (const path of [fifo, '/dev/zero', folder]) {
      await assert.rejects(evaluator.inspect({ path }, table), refused);
      await assert.rejects(evaluator.inspect({ ...files(), path }, flows), refused);
      await assert.rejects(evaluator.inspect({ ...files(), labels: path }, flows), refused);
    }
  });

  test('judges a model and compares it with the champion on the same rows', async () => {
    const { registry } = house.guardian;
    await registry.publish(flowCandidate(house.schema, 'flow', 1), OPERATOR);
    const { digest } = await evaluator.inspect(files(), schemaBytes(house.schema.schema));
    const candidate = await registry.verify('flow@1.1.0');
    const champion = await registry.verify('flow@champion');
    const weights = flowCandidate(house.schema, 'flow', 1).modelBytes;
    const result = await evaluator.evaluate({ files: files(), digest, candidate, weights, champion });
    assert.equal(result.gates.modelDigest, candidate.digest);
    assert.equal(result.gates.dataDigest, digest);
    assert.deepEqual(
      result.gates.gates.map(({ name }) => name).filter((name) => !name.startsWith('recall ')),
      [
        ...['accuracy', 'fpr', 'recall', 'champion', 'calibration', 'brier', 'robustness'],
        ...['schema', 'label-leak', 'latency', 'size'],
      ],
    );
    assert.equal(result.drift?.version, '1.0.0');
    assert.ok(result.drift.psi >= 0 && result.drift.ks > 0);
    assert.ok(Object.values(result.drift.metrics).every(Number.isFinite));
    const alone = await evaluator.evaluate({ files: files(), digest, candidate, weights });
    assert.equal(alone.drift, null);
  });

  test('gates a promotion of a guardian on registered files, and refuses them once changed', async () => {
    const { guardian, schema } = house;
    const { path, labels } = files();
    const copy = join(folder, 'copy.csv');
    writeFileSync(copy, readFileSync(labels));
    const source = { path, labels: copy, schemaBytes: schemaBytes(schema.schema) };
    await guardian.registry.registerGateData('flow', source, OPERATOR);
    // The stump calls nearly everything ordinary: the default gates do not let it in.
    await assert.rejects(guardian.promote('flow', '1.0.0', 'champion', OPERATOR), {
      code: 'registry.gate-failed',
    });
    writeFileSync(copy, `${readFileSync(labels, 'utf8')}\n`);
    await assert.rejects(guardian.promote('flow', '1.0.0', 'champion', OPERATOR), {
      code: 'registry.gate-data-changed',
    });
    rmSync(copy);
    await assert.rejects(guardian.promote('flow', '1.0.0', 'champion', OPERATOR), {
      code: 'registry.gate-data-unfit',
    });
  });
});

test('drift is nothing between equal scores, and grows with their distance', () => {
  const scores = Float32Array.from({ length: 1000 }, (_, i) => i / 1000);
  assert.deepEqual(scoreDrift(scores, scores), { psi: 0, ks: 0 });
  const moved = (by: number) => scores.map((score) => Math.min(1, score + by));
  const [little, much] = [scoreDrift(moved(0.1), scores), scoreDrift(moved(0.4), scores)];
  assert.ok(little.psi > 0 && much.psi > little.psi && much.ks > little.ks);
  assert.ok(Math.abs(little.ks - 0.1) < 0.005 && Math.abs(much.ks - 0.4) < 0.005);
  assert.deepEqual(scoreDrift(new Float32Array(0), scores).ks, 0);
  const apart = scoreDrift(new Float32Array(50).fill(1), new Float32Array(50));
  assert.equal(apart.ks, 1);
  assert.ok(Number.isFinite(apart.psi) && apart.psi > 1);
});
