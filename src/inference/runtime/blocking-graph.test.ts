import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graphModel, trees } from '../../../test/support/graph-model.ts';
import { openBlockingGraph } from './blocking-graph.ts';
import { RUNTIME_DEFAULTS } from './config.ts';

const CPU = { ...RUNTIME_DEFAULTS, provider: 'cpu' as const };

test('a graph is scored without waiting, in as many batches as it takes', async () => {
  const ROWS = 2_500;
  const { model, rows } = trees(ROWS);
  const opened = await openBlockingGraph(graphModel(model), CPU);
  try {
    const ours = { probability: new Float32Array(ROWS), kind: new Int16Array(ROWS) };
    const theirs = { probability: new Float32Array(ROWS), kind: new Int16Array(ROWS) };
    model.score(rows, ROWS, ours);
    opened.model.score(rows, ROWS, theirs);
    for (let r = 0; r < ROWS; r++) {
      assert.ok(Math.abs((ours.probability[r] as number) - (theirs.probability[r] as number)) <= 1e-6);
    }
    assert.deepEqual(opened.model.columnNames, model.columnNames);
  } finally {
    await opened.close();
  }
});

test('what the runtime refuses is refused with its code', async () => {
  const { model } = trees(1);
  await assert.rejects(openBlockingGraph(graphModel(model, { graph: new Uint8Array(8) }), CPU), {
    code: 'inference.model-failed',
  });
});
