import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { graphCandidate } from '../../../test/support/graph-model.ts';
import { randomRows } from '../../../test/support/random-model.ts';
import { type House, makeCandidate, openHouse } from '../../../test/support/registry-fixture.ts';
import { SeededRandom, systemClock } from '../../base/index.ts';
import type { FeatureBatch } from '../../features/index.ts';
import type { VerifiedModel } from '../../registry/index.ts';
import { Engine } from '../engine.ts';

const ROWS = 600;

suite('a foreign graph in the engine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'graph-'));
  let house: House;
  let native: VerifiedModel;
  let graph: VerifiedModel;
  const config = {
    batchSize: 256,
    onnx: { provider: 'cpu' },
    fallbackStrategy: 'reject',
    workers: 0,
  } as const;

  before(async () => {
    house = await openHouse(folder);
    await house.registry.publish(makeCandidate(), { principal: 'test' });
    await house.registry.publish(graphCandidate(makeCandidate({ name: 'graph' })), { principal: 'test' });
    native = await house.registry.verify('flow@1.0.0');
    graph = await house.registry.verify('graph@1.0.0');
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  function batch(): FeatureBatch {
    const values = randomRows(new SeededRandom(3), ROWS);
    return { schemaId: graph.schemaId, sourceKind: 'packets', rows: ROWS, columns: 3, values, rejected: [] };
  }

  test('is published, signed and verified like any model, and decides as its trees do', async () => {
    const engine = new Engine({ clock: systemClock, config });
    try {
      await engine.load(native);
      await engine.load(graph);
      const [ours, theirs] = await Promise.all(
        ['flow', 'graph'].map((model) => engine.scoreColumns(batch(), { model })),
      );
      for (let r = 0; r < ROWS; r++) {
        const [a = 0, b = 1] = [ours?.probability[r], theirs?.probability[r]];
        assert.ok(Math.abs(a - b) <= 1e-6, `row ${r}: ${a} and ${b}`);
      }
      assert.deepEqual(theirs?.verdict, ours?.verdict);
      const [score] = await engine.score(batch(), { model: 'graph' });
      assert.equal(score?.model.digest, graph.digest);
      assert.equal(engine.graphs.length, 1);
    } finally {
      await engine.close();
    }
    assert.deepEqual(engine.graphs, []);
  });

  test('loses no answer but those under way when its process is killed, and goes with the model', async () => {
    const engine = new Engine({ clock: systemClock, config });
    try {
      await engine.load(graph);
      const [{ pid = 0 } = {}] = engine.graphs;
      process.kill(pid, 'SIGKILL');
      const answers = await Promise.allSettled(Array.from({ length: 8 }, () => engine.scoreColumns(batch())));
      for (const answer of answers) {
        if (answer.status === 'rejected') assert.equal(answer.reason.code, 'inference.model-failed');
      }
      const last = await engine.scoreColumns(batch());
      assert.ok(last.verdict.every((verdict) => verdict < 2));
      assert.equal(engine.graphs[0]?.lost, 1);
      engine.unload('graph');
    } finally {
      await engine.close();
    }
  });
});
