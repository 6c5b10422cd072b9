import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, suite, test } from 'node:test';
import { loadAndUnload } from '../../test/support/load-cycles.ts';
import { flowCandidate, openServedHouse, type ServedHouse } from '../../test/support/served-guardian.ts';
import type { AuditEntry } from '../audit/index.ts';
import { MemoryBus } from '../bus/index.ts';
import type { Guardian } from './guardian.ts';

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };
const CAROL = { principal: 'carol' };
const AUTHOR = { principal: 'tester' };

let house: ServedHouse;

/** With 1.0.0 as champion, unless `withModel` says otherwise, and a second version that is more wary. */
async function open(options: Parameters<typeof openServedHouse>[0] = {}): Promise<Guardian> {
  house = await openServedHouse(options);
  await house.guardian.registry.publish(flowCandidate(house.schema, 'flow', 0.5), AUTHOR);
  return house.guardian;
}

/** Entries of the log about models in service: action, kind and the code of a failure. */
async function entriesOf({ log }: Guardian): Promise<readonly string[]> {
  const found: AuditEntry[] = [];
  for await (const { entry } of log.entries()) found.push(entry);
  return found
    .filter(({ action }) => /^model\.(shadow|canary|rollout|withdraw|restore)/.test(action ?? ''))
    .map(({ kind, action, subject }) => `${kind} ${action} ${subject}`);
}

/** Scores one row of zeros as from a source. */
async function versionFor(guardian: Guardian, source: string): Promise<string | undefined> {
  const { schema, id } = guardian.schemaOf('flow') ?? assert.fail('no schema');
  const columns = schema.columns.length;
  const values = new Float32Array(columns);
  const [score] = await guardian.engine.score(
    { schemaId: id, sourceKind: 'packets', rows: 1, columns, values, rejected: [] },
    { model: 'flow', source },
  );
  return score?.model.version;
}

/** Until something holds that work in the background leads to. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000 && !holds(); i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(holds());
}

suite('versions beside a champion', () => {
  afterEach(() => house.close());

  test('run as a shadow on an operator’s word, decide nothing, and leave their trace in the log', async () => {
    const guardian = await open();
    const begun = await guardian.rollouts.shadow('flow', '1.1.0', ADA);
    assert.deepEqual([begun.kind, begun.percent, begun.startedBy], ['shadow', null, 'ada']);
    assert.equal(await versionFor(guardian, 'a'), '1.0.0');
    await until(() => guardian.rollouts.report('flow').comparedRows === 1);
    assert.equal(guardian.rollouts.report('flow').agreed, 1);
    const ended = await guardian.rollouts.stop('flow', BOB);
    assert.equal(ended.endedBecause, 'stopped');
    await assert.rejects(guardian.rollouts.stop('flow', BOB), { code: 'inference.no-rollout' });
    assert.deepEqual(await entriesOf(guardian), [
      'intent model.shadow flow@1.1.0',
      'outcome model.shadow flow@1.1.0',
      'intent model.rollout-stop flow@1.1.0',
      'outcome model.rollout-stop flow@1.1.0',
    ]);
  });

  test('decide as a canary for those sources alone that fall to it, and end when the champion moves', async () => {
    const guardian = await open();
    const { admission } = await guardian.rollouts.canary('flow', '1.1.0', 50, ADA);
    assert.deepEqual([admission.approvals, admission.gates], [['ada'], 'submitter']);
    const versions = new Set<string | undefined>();
    for (let i = 0; i < 40; i++) versions.add(await versionFor(guardian, `192.0.2.${i}`));
    assert.deepEqual([...versions].sort(), ['1.0.0', '1.1.0']);
    await assert.rejects(guardian.registry.custody.erase('flow', '1.1.0', { reason: 'r' }, ADA), {
      code: 'registry.version-in-use',
    });
    await guardian.promote('flow', '1.1.0', 'champion', ADA);
    assert.equal(guardian.rollouts.report('flow').endedBecause, 'champion-moved');
    await until(() => guardian.engine.models.rollouts.get('flow') === undefined);
    // What was noted in passing is in the log behind the next entry.
    await guardian.log.append({
      kind: 'event',
      action: 'config.change',
      principal: 'x',
      subject: 'x',
      detail: {},
    });
    assert.equal((await entriesOf(guardian)).at(-1), 'event model.rollout-end flow@1.1.0');
  });

  test('may not decide as a canary without the approvals that a promotion needs', async () => {
    const guardian = await open({ withModel: false, config: { registry: { approvals: 2 } } });
    await guardian.registry.publish(flowCandidate(house.schema, 'flow', 0.25), AUTHOR);
    for (const by of [ADA, BOB]) await guardian.registry.approve('flow', '1.0.0', by);
    await guardian.promote('flow', '1.0.0', 'champion', CAROL);
    await guardian.registry.approve('flow', '1.1.0', ADA);
    const canary = () => guardian.rollouts.canary('flow', '1.1.0', 5, CAROL);
    await assert.rejects(canary(), { code: 'registry.approvals-missing' });
    assert.equal(guardian.engine.models.rollouts.get('flow'), undefined);
    assert.deepEqual((await entriesOf(guardian)).slice(-2), [
      'intent model.canary flow@1.1.0',
      'outcome model.canary flow@1.1.0',
    ]);
    // A shadow decides nothing and asks for none.
    await guardian.rollouts.shadow('flow', '1.1.0', CAROL);
    await guardian.rollouts.stop('flow', CAROL);
    await guardian.registry.approve('flow', '1.1.0', BOB);
    assert.deepEqual((await canary()).admission.approvals, ['ada', 'bob']);
  });

  test('may not decide as a canary where their gates failed', async () => {
    const guardian = await open();
    const candidate = flowCandidate(house.schema, 'flow', 0.75);
    const gates = [
      { name: 'accuracy', passed: false, value: 0.5, threshold: 0.8, comparison: '>=' },
    ] as const;
    await guardian.registry.publish(
      { ...candidate, gateReport: { ...candidate.gateReport, passed: false, gates } },
      AUTHOR,
    );
    await assert.rejects(guardian.rollouts.canary('flow', '1.2.0', 5, ADA), { code: 'registry.gate-failed' });
    assert.equal(guardian.engine.models.rollouts.get('flow'), undefined);
  });

  test('are refused where they are corrupt on the disk, and what serves goes on', async () => {
    const guardian = await open();
    const [path = ''] = globSync('**/1.1.0/model.agm.sealed', { cwd: guardian.stateFolder });
    const file = join(guardian.stateFolder, path);
    const bytes = readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20);
    writeFileSync(file, bytes);
    const refused = { category: 'security' };
    await assert.rejects(guardian.rollouts.shadow('flow', '1.1.0', ADA), refused);
    await assert.rejects(guardian.rollouts.canary('flow', '1.1.0', 5, ADA), refused);
    await assert.rejects(guardian.promote('flow', '1.1.0', 'champion', ADA), refused);
    await assert.rejects(guardian.load('flow@1.1.0'), refused);
    assert.equal(await versionFor(guardian, 'a'), '1.0.0');
    assert.equal(guardian.engine.models.rollouts.get('flow'), undefined);
  });

  test('begin with the server where they are configured, and what cannot begin keeps nobody from serving', async () => {
    const rollouts = [{ kind: 'canary', name: 'flow', version: '1.1.0', percent: 100 }];
    const guardian = await open({ withModel: false, config: { inference: { rollouts } } });
    await guardian.registry.publish(flowCandidate(house.schema, 'flow', 0.25), AUTHOR);
    await guardian.promote('flow', '1.0.0', 'champion', AUTHOR);
    await guardian.rollouts.startConfigured('flow');
    assert.equal(await versionFor(guardian, 'a'), '1.1.0');
    assert.equal(guardian.rollouts.report('flow').startedBy, 'system');
    await guardian.promote('flow', '1.1.0', 'champion', AUTHOR);
    await guardian.rollouts.startConfigured('flow');
    await guardian.rollouts.startConfigured('other');
    assert.equal(await versionFor(guardian, 'a'), '1.1.0');
    assert.equal(guardian.engine.models.rollouts.get('flow'), undefined);
  });
});

suite('a move that another engine tells of', () => {
  afterEach(() => house.close());

  test('is read again and verified before anything is swapped', async () => {
    const guardian = await open();
    const bus = new MemoryBus();
    await guardian.joinBus(async () => bus.connect());
    // The hint says what it likes: the alias has not moved.
    await bus.put('aliases.flow.champion', Buffer.from('{"version":"1.1.0"}'));
    await guardian.registry.promote('flow', '1.1.0', 'champion', ADA);
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
    await bus.put('aliases.flow.champion', Buffer.from('not even JSON'));
    await until(() => guardian.engine.current('flow')?.version === '1.1.0');
  });

  test('tells the others, and leaves alone what was loaded by its version', async () => {
    const guardian = await open();
    const bus = new MemoryBus();
    await guardian.joinBus(async () => bus.connect());
    await guardian.promote('flow', '1.1.0', 'champion', ADA);
    const value = await bus.get('aliases.flow.champion');
    assert.equal(JSON.parse(Buffer.from(value?.data ?? []).toString()).version, '1.1.0');
    await guardian.load('flow@1.0.0');
    await bus.put('aliases.flow.champion', Buffer.from('{}'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(guardian.engine.current('flow')?.version, '1.0.0');
  });
});

suite('models that come and go', () => {
  afterEach(() => house.close());

  test('leave no memory behind', async () => {
    await open();
    const { points, leftModels, leftBytes, wrong } = await loadAndUnload(house, 40, 4);
    assert.deepEqual([leftModels, leftBytes, wrong], [0, 0, 0]);
    const [, second, , last] = points;
    // A model here takes 130 KB in the cache; what stays of 20 of them is less than one.
    assert.ok((last?.external ?? 0) - (second?.external ?? 0) < 128 * 1024, JSON.stringify(points));
    assert.ok((last?.heap ?? 0) - (second?.heap ?? 0) < 1024 * 1024, JSON.stringify(points));
  });

  test('are gone for those who ask after an unload, and nothing of them stays', async () => {
    const guardian = await open();
    await guardian.rollouts.shadow('flow', '1.1.0', ADA);
    assert.equal(guardian.engine.models.cacheStats.models, 2);
    assert.equal(await guardian.unload('flow'), true);
    assert.equal(guardian.rollouts.report('flow').endedBecause, 'unloaded');
    assert.deepEqual(
      [guardian.engine.models.cacheStats.models, guardian.engine.models.cacheStats.bytes],
      [0, 0],
    );
    await assert.rejects(async () => guardian.scoreVectors('flow', new Float32Array(400), 1), {
      code: 'inference.no-model',
    });
    assert.equal(await guardian.unload('flow'), false);
    await guardian.load('flow@champion');
    assert.equal(await versionFor(guardian, 'a'), '1.0.0');
  });
});
