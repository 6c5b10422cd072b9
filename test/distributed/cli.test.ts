import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardian, makeHome } from '../support/cli.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from '../support/synthetic-table.ts';

test('guardian train on workers publishes the model that it publishes without', async () => {
  const home = await makeHome();
  try {
    const folder = home.folder;
    const table = syntheticTable(1200, 5);
    const lines = ['a,b,service,noise,constant,label'];
    for (let r = 0; r < table.rows; r++) {
      const [a, b, service, noise, constant] = table.values.subarray(r * 5, r * 5 + 5);
      const name = SYNTHETIC_SCHEMA.schema.columns[2]?.categories?.[service as number];
      const cell = (x: number | undefined) => (Number.isNaN(x) ? '0' : String(x));
      lines.push([cell(a), b, name, noise, constant, table.labels[r] === 0 ? 'normal' : 'flood'].join(','));
    }
    const [data, schema, config] = ['data.csv', 'schema.json', 'guardian.yaml'].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    writeFileSync(data, `${lines.join('\n')}\n`);
    writeFileSync(schema, JSON.stringify(SYNTHETIC_SCHEMA.schema));
    writeFileSync(config, 'training:\n  method: trees\n  rounds: 3\n');
    const train = async (...more: string[]) => {
      const args = ['train', data, '--schema', schema, '--name', 'm', '--config', config, '--json', ...more];
      const { stdout, stderr } = await guardian(home, args);
      const result = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as {
        type?: string;
        rounds?: number;
        threshold?: number;
        metrics?: object;
      };
      assert.equal(result.type, 'train.result', stderr);
      return [result.rounds, result.threshold, result.metrics];
    };
    assert.deepEqual(await train('--workers', '2'), await train());
  } finally {
    await home.remove();
  }
});
