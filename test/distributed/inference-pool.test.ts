import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { ManualClock, SeededRandom, silentLogger, systemClock } from '../../src/base/index.ts';
import { connectNats, sealBus } from '../../src/bus/index.ts';
import { type FeatureBatch, loadSchema } from '../../src/features/index.ts';
import { Engine } from '../../src/inference/index.ts';
import { startNats } from '../support/nats.ts';
import { openHouse } from '../support/registry-fixture.ts';
import { requireTool } from '../support/requires.ts';
import { flowCandidate } from '../support/served-guardian.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const ROWS = 400;

interface Child {
  readonly process: ChildProcess;
  /** What it said, as objects. */
  readonly said: readonly Record<string, unknown>[];
  /** Of its health. */
  readonly url: string;
}

test('workers share batches, and one that is killed loses none of them', async (t) => {
  if (!requireTool(t, 'nats-server')) return;
  const folder = mkdtempSync(join(tmpdir(), 'pool-nats-'));
  const keyFile = join(folder, 'bus.key');
  const trust = join(folder, 'trust.pem');
  writeFileSync(keyFile, new Uint8Array(32).fill(9), { mode: 0o600 });
  const nats = await startNats();
  const house = await openHouse(folder, new ManualClock());
  const bus = await sealBus(await connectNats({ server: nats.server }), keyFile);
  const config = { batchSize: 64, workers: 0 };
  const owner = new Engine({ clock: systemClock, isShared: true, config: { ...config, pool: 'bus' } });
  const alone = new Engine({ clock: systemClock, config });
  const children: Child[] = [];
  try {
    const schema = await loadSchema('flow-core');
    await house.registry.publish(flowCandidate(schema), { principal: 'test' });
    const model = await house.registry.verify('flow@1.0.0');
    writeFileSync(trust, (await house.keys.active('model-signing')).publicKeyPem ?? '');
    await owner.load(model);
    await alone.load(model);
    owner.joinWorkers(bus, silentLogger);
    const start = async (id: string) => {
      const child = await startWorker([
        '--bus',
        nats.server,
        '--bus-key-file',
        keyFile,
        '--trust',
        trust,
        '--id',
        id,
      ]);
      children.push(child);
    };
    await Promise.all([start('one'), start('two')]);
    await until(async () => (await Promise.all(children.map(isReady))).every(Boolean));
    await until(async () => owner.remote?.workers === 2);

    const batches = [1, 2, 3].map((seed) => batchOf(seed));
    const expected = await Promise.all(batches.map((batch) => alone.scoreColumns(batch)));
    let asked = 0;
    const load = async (rounds: number) => {
      for (let i = 0; i < rounds; i++) {
        const at = asked++ % batches.length;
        const answer = await owner.scoreColumns(batches[at] as FeatureBatch);
        assert.equal(answer.degraded, undefined);
        assert.deepEqual(answer.probability, expected[at]?.probability);
        assert.deepEqual(answer.verdict, expected[at]?.verdict);
      }
    };
    await Promise.all([load(20), load(20), load(20)]);
    assert.equal(owner.remote?.lost, 0);

    const [killed, left] = children as [Child, Child];
    const underWay = Promise.all([load(150), load(150), load(150), load(150)]);
    await until(async () => asked > 100);
    killed.process.kill('SIGKILL');
    await underWay;
    assert.equal(asked, 660);
    await until(async () => owner.remote?.workers === 1);
    const before = owner.remote?.answered ?? 0;
    await load(5);
    assert.ok((owner.remote?.answered ?? 0) > before, 'the other one goes on');

    left.process.kill('SIGTERM');
    assert.deepEqual(await once(left.process, 'exit'), [0, null]);
    assert.equal(left.said.at(-1)?.type, 'worker.ended');
    assert.ok((left.said.at(-1)?.batches as number) > 0);
    await until(async () => owner.remote?.workers === 0);
    await load(3);

    function batchOf(seed: number): FeatureBatch {
      const random = new SeededRandom(seed);
      const columns = schema.schema.columns.length;
      const values = Float32Array.from({ length: ROWS * columns }, (_, i) =>
        schema.schema.columns[i % columns]?.categories === undefined ? random.uniform(0, 12) : 0,
      );
      return { schemaId: schema.id, sourceKind: 'packets', rows: ROWS, columns, values, rejected: [] };
    }
  } finally {
    for (const { process } of children) process.kill('SIGKILL');
    await owner.close();
    await alone.close();
    await bus.close();
    await house.close();
    await nats.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

async function startWorker(args: readonly string[]): Promise<Child> {
  const child = spawn(
    process.execPath,
    [MAIN, 'worker', '--role', 'inference', '--threads', '1', '--health-port', '0', '--json', ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const said: Record<string, unknown>[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the worker ended before it had started')));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const object = JSON.parse(line) as Record<string, unknown>;
      said.push(object);
      if (object.type === 'worker.started') resolve(object.health as string);
    });
  });
  return { process: child, said, url };
}

async function isReady({ url }: Child): Promise<boolean> {
  const live = await fetch(`${url}/health/live`);
  assert.equal(live.status, 200);
  const ready = await fetch(`${url}/health/ready`);
  const { ready: says, models } = (await ready.json()) as { ready: boolean; models: string[] };
  assert.equal(ready.status, says ? 200 : 503);
  if (says) assert.deepEqual(models, ['flow@1.0.0']);
  return says;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await isSo()); i++) {
    assert.ok(i < 1_500, 'in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
