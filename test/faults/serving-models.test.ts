import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import threads from 'node:worker_threads';
import { ADA, FaultHouse } from '../support/fault-house.ts';
import { graphCandidate } from '../support/graph-model.ts';
import { flowCandidate } from '../support/served-guardian.ts';
import { SteadyLoad } from '../support/steady-load.ts';

/** The threads that this process started. */
const started: threads.Worker[] = [];
const Original = threads.Worker;
threads.Worker = class extends Original {
  constructor(...given: ConstructorParameters<typeof Original>) {
    super(...given);
    started.push(this);
  }
};
syncBuiltinESMExports();

const weightsOf = (house: FaultHouse, version: string) =>
  join(house.folder, 'state/blobs/models/flow', version, 'model.agm.sealed');

suite('a served model', () => {
  test('answers every request while the thread that scores is killed again and again', async (t) => {
    const house = await FaultHouse.open(t, { config: { inference: { workers: 1, batchSize: 64 } } });
    await house.guardian.engine.start();
    const load = new SteadyLoad(house, { rows: 256 });
    for (let n = 0; n < 3; n++) {
      await load.some(3);
      await started.at(-1)?.terminate();
    }
    await load.some(3);
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    const degraded = load.answers.filter(({ body }) => JSON.stringify(body).includes('degraded'));
    assert.deepEqual(degraded, []);
    await load.assertKept();
  });

  test('of a foreign graph whose process is killed says so, harms no other, and goes on', async (t) => {
    const inference = { workers: 0, fallbackStrategy: 'reject', onnx: { provider: 'cpu' } };
    const house = await FaultHouse.open(t, { config: { inference } });
    const { guardian } = house;
    const candidate = graphCandidate(flowCandidate(house.schema, 'graph'));
    const { version } = await guardian.registry.publish(candidate, ADA);
    await guardian.promote('graph', version, 'champion', ADA);
    const load = new SteadyLoad(house, { model: 'graph' });
    for (let n = 0; n < 3; n++) {
      await load.some(3);
      process.kill(guardian.engine.graphs[0]?.pid ?? 0, 'SIGKILL');
      await load.next('infer', ({ status }) => status === 200);
    }
    await load.stop();
    const {
      'event 200': _,
      'infer 200': __,
      'infer 503 inference.model-failed': failed = 0,
      ...rest
    } = load.tally();
    assert.deepEqual(rest, {});
    assert.ok(failed <= 6, `${failed} answers`);
    assert.ok(load.answers.every(({ status, retryAfter }) => status === 200 || retryAfter === 1));
    await load.assertKept();
  });

  test('serves on from memory while its file is damaged, and what is damaged is refused at the door', async (t) => {
    const house = await FaultHouse.open(t);
    const { guardian } = house;
    const { version } = await house.publish(0.5);
    const load = new SteadyLoad(house);
    await load.some(2);
    const before = guardian.log.size;

    const next = weightsOf(house, version);
    const whole = readFileSync(next);
    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1] = (flipped[whole.length >> 1] as number) ^ 1;
    writeFileSync(next, flipped);
    truncateSync(weightsOf(house, '1.0.0'), 40);
    const refused = await house.promoteOverHttp(version);
    assert.equal(refused.status, 500);
    assert.equal(refused.body.code, 'registry.weights-tampered');
    assert.equal(
      (await house.call('POST', '/v2/repository/models/flow/load')).body.code,
      'registry.weights-tampered',
    );
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    assert.equal((await guardian.registry.resolve('flow')).version, '1.0.0');
    assert.ok((await house.entries(before)).includes('model.promote failed registry.weights-tampered'));

    writeFileSync(next, whole);
    assert.equal((await house.promoteOverHttp(version)).status, 200);
    await load.some(2);
    await load.stop();
    assert.deepEqual(Object.keys(load.tally()).sort(), ['event 200', 'infer 200']);
    assert.equal(guardian.engine.current('flow')?.version, version);
    await load.assertKept();
  });

  test('is left out by a restart that finds its file damaged, and one rollback brings back the one before', async (t) => {
    const house = await FaultHouse.open(t);
    const { version } = await house.publish(0.5);
    await house.promote(version);
    await house.stop();
    truncateSync(weightsOf(house, version), 100);
    await house.start();
    assert.ok(house.told.includes('registry.weights-tampered'));
    assert.equal((await house.call('GET', '/v2/health/live')).status, 200);
    assert.equal((await house.call('GET', '/v2/health/ready')).status, 503);
    assert.equal((await house.infer()).status, 404);
    assert.equal((await house.event('198.18.0.1')).body.code, 'registry.weights-tampered');
    const back = await house.call('POST', '/v1/models/flow/rollback', { alias: 'champion' });
    assert.equal(back.body.version, '1.0.0');
    assert.equal((await house.infer()).status, 200);
    assert.equal((await house.event('198.18.0.1')).status, 200);
  });
});
