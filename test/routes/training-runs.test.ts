import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SeededRandom } from '../../src/base/index.ts';
import { createContext } from '../../src/cli/context.ts';
import { Output } from '../../src/cli/output.ts';
import { openGuardian } from '../../src/guardian/index.ts';
import { buildServer, listenSocket } from '../../src/server/index.ts';
import { guardian, makeHome } from '../support/cli.ts';
import { SYNTHETIC_SCHEMA } from '../support/synthetic-table.ts';

const SERVICES = ['http', 'dns', 'ssh', 'smtp', 'ntp', 'ftp'];

test('the owner of the state tells how a training beside it goes and went', { timeout: 60_000 }, async () => {
  const home = await makeHome();
  const [table, schema] = [join(home.folder, 'rows.csv'), join(home.folder, 'schema.json')];
  await writeFile(schema, JSON.stringify(SYNTHETIC_SCHEMA.schema));
  const random = new SeededRandom(4);
  const lines = ['a,b,service,noise,constant,label'];
  for (let r = 0; r < 600; r++) {
    const b = random.uniform(0, 5);
    const cells = [random.uniform(-1, 1), b, SERVICES[r % 6], random.uniform(-2, 2), 7];
    lines.push(`${cells.join(',')},${b > 3 ? 'flood' : 'normal'}`);
  }
  await writeFile(table, `${lines.join('\n')}\n`);
  const { stateFolder, configFolder, config } = await createContext(
    {},
    {
      output: new Output({ json: true, stdout: process.stdout, stderr: process.stderr }),
      environment: home.environment,
      signal: new AbortController().signal,
    },
  );
  const owner = await openGuardian({ stateFolder, configFolder, config });
  const socket = await listenSocket(owner);
  const server = await buildServer(owner, { trust: 'local' });
  const get = async (url: string) => {
    const { statusCode, payload } = await server.inject({ method: 'GET', url });
    return { statusCode, body: JSON.parse(payload) };
  };
  try {
    assert.deepEqual((await get('/v1/training/runs')).body, { runs: [] });
    const args = ['train', table, '--schema', schema, '--name', 'told', '--workers', '2', '--json'];
    const trained = await guardian(home, args, {
      environment: { GUARDIAN_TRAINING_METHOD: 'trees', GUARDIAN_TRAINING_ROUNDS: '8' },
    });
    const rounds = trained.objects.at(-1)?.rounds as number;
    assert.ok(rounds > 1, trained.stderr);
    const { runs } = (await get('/v1/training/runs')).body;
    assert.equal(runs.length, 1);
    const [{ id, model, state, last }] = runs;
    assert.deepEqual([model, state], ['told', 'done']);
    const { body: run } = await get(`/v1/training/runs/${id}`);
    assert.deepEqual(run.points.at(-1), last);
    assert.deepEqual(
      run.points.map((point: { round: number }) => point.round),
      Array.from({ length: run.points.length }, (_, i) => i + 1),
    );
    for (const { validationLoss, cpuSeconds, rssBytes, rowsPerSecond, aggregation } of run.points) {
      assert.ok(validationLoss > 0 && cpuSeconds > 0 && rssBytes > 0 && rowsPerSecond > 0);
      assert.ok(aggregation.bytesSent > 0 && aggregation.bytesReceived > 0);
    }
    const unknown = await get('/v1/training/runs/00000000-0000-4000-8000-000000000000');
    assert.deepEqual([unknown.statusCode, unknown.body.code], [404, 'server.training-unknown']);
  } finally {
    await server.close();
    await socket.close();
    await owner.close();
    await home.remove();
  }
});
