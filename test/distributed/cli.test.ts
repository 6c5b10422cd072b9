import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { armFaultPoints } from '../../src/base/index.ts';
import { guardian, makeHome } from '../support/cli.ts';
import { writeSyntheticData } from '../support/secure-sites.ts';
import { SYNTHETIC_SCHEMA } from '../support/synthetic-table.ts';

test('guardian train on workers publishes the model that it publishes without', async () => {
  const home = await makeHome();
  try {
    const folder = home.folder;
    const [data, schema, config] = ['data.csv', 'schema.json', 'guardian.yaml'].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    writeSyntheticData(data, 1200, 5);
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

test('guardian train on workers that was broken off and resumed gives the very model of one that was not', async () => {
  const home = await makeHome();
  try {
    const [data, schema, config] = ['data.csv', 'schema.json', 'guardian.yaml'].map((name) =>
      join(home.folder, name),
    ) as [string, string, string];
    writeSyntheticData(data, 1200, 5);
    writeFileSync(schema, JSON.stringify(SYNTHETIC_SCHEMA.schema));
    for (const method of ['trees', 'hybrid']) {
      const training = { method, rounds: 6, maxLeaves: 8, hybrid: { draws: 1, known: { rounds: 6 } } };
      writeFileSync(config, JSON.stringify({ training, checkpoints: { everyRounds: 1, maxShare: 1 } }));
      const train = (more: readonly string[], signal?: AbortSignal) =>
        guardian(
          home,
          ['train', data, '--schema', schema, '--name', 'm', '--config', config, '--json', ...more],
          signal && { signal },
        );
      const digestOf = async (more: readonly string[]) => {
        const { objects, stderr } = await train(more);
        assert.equal(objects.at(-1)?.type, 'train.result', stderr);
        return objects.at(-1)?.modelDigest;
      };
      const whole = await digestOf(['--workers', '2']);
      const stop = new AbortController();
      let saved = 0;
      armFaultPoints((name) => {
        if (name === 'cli.checkpoint.before-mark' && ++saved === 3) stop.abort();
      });
      const broken = await train(['--workers', '2'], stop.signal).finally(() => armFaultPoints(undefined));
      assert.notEqual(broken.exitCode, 0);
      assert.match(broken.stderr, /--resume goes on/);
      assert.equal(await digestOf(['--workers', '3', '--resume']), whole, method);
    }
  } finally {
    await home.remove();
  }
});
