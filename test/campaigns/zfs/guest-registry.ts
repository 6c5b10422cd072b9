import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ManualClock } from '../../../src/base/index.ts';
import { configurationSchema } from '../../../src/configuration.ts';
import { loadSchema } from '../../../src/features/index.ts';
import { openGuardian } from '../../../src/guardian/index.ts';
import { createZfsRunner } from '../../../src/storage/zfs-runner.ts';
import { flowCandidate } from '../../support/served-guardian.ts';
import { POOL } from '../../support/zfs-suite.ts';

/** A whole guardian on the pools that guest.ts made: promotion, erase, rollback. */
test('an erase stays one when a rollback brings the blob back, and after a restart', async () => {
  const folder = '/var/guardian';
  const options = {
    stateFolder: join(folder, 'state'),
    configFolder: join(folder, 'config'),
    config: configurationSchema.parse({ storage: { blobs: `zfs:${POOL}/house` } }),
    clock: new ManualClock(),
  };
  const by = { principal: 'officer' };
  const guardian = await openGuardian(options);
  const schema = await loadSchema('flow-core');
  const { version } = await guardian.registry.publish(flowCandidate(schema), by);
  await guardian.promote('flow', version, 'champion', by);
  const next = await guardian.registry.publish(flowCandidate(schema, 'flow', 0.5), by);
  const third = await guardian.registry.publish(flowCandidate(schema, 'flow', 0.25), by);
  await guardian.promote('flow', next.version, 'champion', by);
  await guardian.promote('flow', third.version, 'champion', by);
  const child = `${POOL}/house/models/flow`;
  const held = await zfs('list', '-Hp', '-t', 'snapshot', '-o', 'name,userrefs,org.aiguardian:digest', child);
  assert.equal(held.trim().split('\n').length, 3);
  assert.equal((await guardian.registry.verify(`flow@${version}`)).version, version);
  const health = await guardian.blobs.health();
  assert.equal(health.kind, 'zfs');

  const erased = await guardian.registry.custody.erase('flow', version, { reason: 'asked for' }, by);
  assert.equal(erased.hasWraps, false);
  const gone = { code: 'registry.version-erased' };
  await assert.rejects(guardian.registry.verify(`flow@${version}`), gone);
  const sealed = join(folder, 'state/blobs/models/flow/.zfs/snapshot', `promoted-${version}`, version);
  assert.ok(statSync(join(sealed, 'model.agm.sealed')).size > 0, 'the snapshot holds the sealed weights');
  const refused = await createZfsRunner().run('zfs', ['rollback', '-r', `${child}@promoted-${version}`]);
  assert.notEqual(refused.rc, 0, 'later promotions are held');
  for (const later of [next.version, third.version]) {
    await zfs('release', 'aiguardian-promotion', `${child}@promoted-${later}`);
  }
  await zfs('rollback', '-r', `${child}@promoted-${version}`);
  const names = await guardian.blobs.list(`models/flow/${version}`);
  assert.ok(
    names.some((name) => name.endsWith('model.agm.sealed')),
    'the blob is back',
  );
  await assert.rejects(guardian.registry.verify(`flow@${version}`), gone);
  const row = await guardian.database.versions.find('flow', version);
  await assert.rejects(guardian.database.wraps.get(row?.dataKeyId ?? ''), { code: 'storage.wraps-missing' });
  const [blobs, wraps] = ['blobs', 'wraps'].map((part) => statSync(join(folder, 'state', part)).dev);
  assert.notEqual(blobs, wraps, 'wraps lie outside of every dataset');
  await guardian.close();

  const again = await openGuardian(options);
  await assert.rejects(again.registry.verify(`flow@${version}`), gone);
  await again.close();
});

async function zfs(...args: string[]): Promise<string> {
  const { rc, stdout, stderr } = await createZfsRunner().run('zfs', args);
  assert.equal(rc, 0, stderr);
  return stdout;
}
