import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowExtractor, loadSchema } from '../../src/features/index.ts';
import { generate, LAB_LINK_TYPE } from '../../src/lab/index.ts';
import { FlowMeter } from '../../src/traffic/index.ts';
import { trainStump } from '../../src/training/index.ts';

test('no single feature tells the attacks of the lab from its ordinary traffic', async (t) => {
  const schema = await loadSchema('flow-core');
  const meter = new FlowMeter();
  const run = generate({ seed: 21, seconds: 180, scale: 0.6 });
  for (const { bytes, timeMs, wireLength } of run.packets())
    meter.add(bytes, LAB_LINK_TYPE, timeMs, wireLength);
  const flows = meter.finish();
  const labels = run.labels();
  const { values, rows, columns } = new FlowExtractor(schema).extract(flows);
  const isAttack = Uint8Array.from(flows, (flow) => (labels.labelOf(flow) === 'benign' ? 0 : 1));
  const attacks = isAttack.reduce((total, label) => total + label, 0);
  const table = {
    rows,
    columns,
    values,
    labels: isAttack,
    typeIndex: Uint16Array.from(isAttack),
    typeNames: ['benign', 'attack'],
  };
  const categories = schema.schema.columns.map((column) => column.categories?.length ?? 0);
  const best = trainStump(table, { balanced: true, categories });
  const name = schema.schema.columns[best.column]?.name;
  t.diagnostic(
    `best stump: ${name}, balanced accuracy ${best.accuracy.toFixed(3)} on ${rows} flows, ${attacks} of attacks`,
  );
  assert.ok(rows > 5000 && attacks > 0.2 * rows && attacks < 0.8 * rows);
  assert.ok(best.accuracy < 0.95);
});
