import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { ManualClock } from '../../src/base/index.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { type LoadedSchema, loadSchema } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { FlowBatch, type FlowRecord } from '../../src/traffic/index.ts';
import { toolPath } from '../support/requires.ts';
import { flowCandidate, sentFlow } from '../support/served-guardian.ts';
import { makeSoftHsm, requireSoftHsm, type SoftHsm } from '../support/softhsm.ts';

const ADA = { principal: 'ada' };
const PEOPLE = ['bob', 'cyd'];

let hsm: SoftHsm;
let folder: string;
let guardian: Guardian;
let schema: LoadedSchema;

function open(): Promise<Guardian> {
  return openGuardian({
    stateFolder: join(folder, 'state'),
    configFolder: join(folder, 'config'),
    config: configurationSchema.parse({ keys: { uri: hsm.uri() } }),
    clock: new ManualClock(),
  });
}

async function publishAndPromote(bias: number): Promise<string> {
  const { version } = await guardian.registry.publish(flowCandidate(schema, 'flow', bias), ADA);
  for (const principal of PEOPLE) await guardian.registry.approve('flow', version, { principal });
  await guardian.promote('flow', version, 'champion', ADA);
  return version;
}

async function watch(): Promise<string | undefined> {
  const flow = { ...sentFlow(), handshakeSeen: true } as unknown as FlowRecord;
  const { outcomes } = await guardian.ingestFlows(FlowBatch.from([flow], 'packets'), { outcomes: true });
  return outcomes?.[0]?.score.model.version;
}

suite('a guardian whose keys are in a token', () => {
  before(async () => {
    if (toolPath('softhsm2-util') === undefined) return;
    hsm = await makeSoftHsm();
    folder = mkdtempSync(join(tmpdir(), 'guardian-'));
    schema = await loadSchema('flow-core');
    guardian = await open();
  });
  after(async () => {
    await guardian?.close();
    hsm?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  test('publishes, asks two people, promotes, verifies, watches, and opens again', async (t) => {
    if (!requireSoftHsm(t)) return;
    assert.equal(guardian.keys.kind, 'pkcs11');
    const { version } = await guardian.registry.publish(flowCandidate(schema), ADA);
    await assert.rejects(guardian.promote('flow', version, 'champion', ADA), {
      code: 'registry.approvals-missing',
    });
    for (const principal of PEOPLE) await guardian.registry.approve('flow', version, { principal });
    await guardian.promote('flow', version, 'champion', ADA);
    assert.equal(await watch(), '1.0.0');
    await guardian.close();
    guardian = await open();
    await guardian.load('flow@champion');
    assert.equal(await watch(), '1.0.0');
  });

  test('goes on serving without the token, goes back to the resident champion, and signs and loads nothing', async (t) => {
    if (!requireSoftHsm(t)) return;
    assert.equal(await publishAndPromote(0.1), '1.1.0');
    const before = await guardian.registry.list();
    hsm.pullOut();
    const sizeBefore = guardian.log.size;
    assert.equal(await watch(), '1.1.0');

    const change = await guardian.rollback('flow', 'champion', ADA);
    assert.equal(change.version, '1.0.0');
    assert.equal(await watch(), '1.0.0');

    const away = { code: 'crypto.hsm-away' };
    await assert.rejects(guardian.registry.publish(flowCandidate(schema, 'flow', 0.2), ADA), away);
    await assert.rejects(guardian.promote('flow', '1.1.0', 'champion', ADA), away);
    await assert.rejects(guardian.load('flow@1.1.0'), away);
    await assert.rejects(guardian.log.checkpoint(), away);
    assert.equal(await watch(), '1.0.0');
    assert.ok(guardian.log.size > sizeBefore, 'what was done is in the log all the same');
    assert.deepEqual(
      (await guardian.registry.list()).map(({ version }) => version),
      before.map(({ version }) => version),
      'no partial version',
    );
    assert.deepEqual(await guardian.log.openIntents(), []);

    hsm.plugIn();
    assert.equal((await guardian.log.checkpoint()).size, guardian.log.size);
    assert.equal(await publishAndPromote(0.2), '1.2.0');
    assert.equal(await watch(), '1.2.0');
  });

  test('closes without the token, and the next start takes over what no checkpoint covered', async (t) => {
    if (!requireSoftHsm(t)) return;
    hsm.pullOut();
    await guardian.log.append({
      kind: 'event',
      action: 'test.note',
      principal: 'ada',
      subject: 'x',
      detail: {},
    });
    const { size } = guardian.log;
    await guardian.close();
    await assert.rejects(open(), { code: 'crypto.hsm-away' });
    hsm.plugIn();
    guardian = await open();
    assert.ok(guardian.log.size > size);
    assert.equal((await guardian.log.entry(size - 1)).action, 'test.note');
    await guardian.load('flow@champion');
    assert.equal(await watch(), '1.2.0');
  });

  test('makes no new keys for a state that has a log, whatever token it finds', async (t) => {
    if (!requireSoftHsm(t)) return;
    const config = configurationSchema.parse({ keys: { uri: hsm.uri('another') } });
    const stateFolder = join(folder, 'state');
    await guardian.close();
    await assert.rejects(openGuardian({ stateFolder, configFolder: join(folder, 'config'), config }), {
      code: 'crypto.store-missing',
    });
    guardian = await open();
  });
});
