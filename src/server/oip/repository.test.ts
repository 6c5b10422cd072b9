import assert from 'node:assert/strict';
import { afterEach, suite, test } from 'node:test';
import { flowCandidate, openServedHouse, type ServedHouse } from '../../../test/support/served-guardian.ts';
import type { Role } from '../roles.ts';
import { loadModel } from './repository.ts';

let house: ServedHouse;

function caller(principal: string, ...roles: Role[]) {
  return { principal, roles };
}

/** A version beside the champion 1.0.0. */
async function publish(candidate = flowCandidate(house.schema, 'flow', 0.5)): Promise<string> {
  return (await house.guardian.registry.publish(candidate, { principal: 'tester' })).version;
}

function serving(): string | undefined {
  return house.guardian.engine.current('flow')?.version;
}

suite('loading by name of a version', () => {
  afterEach(() => house.close());

  test('puts the champion back on an operator’s word, whichever way it is named', async () => {
    house = await openServedHouse();
    for (const parameters of [{}, { version: '1.0.0' }]) {
      await house.guardian.unload('flow');
      await loadModel(house.guardian, 'flow', parameters, caller('ada', 'operator'));
      assert.equal(serving(), '1.0.0');
    }
  });

  test('puts no other version in place on the word of an operator who may not promote', async () => {
    house = await openServedHouse();
    const version = await publish();
    await assert.rejects(loadModel(house.guardian, 'flow', { version }, caller('ada', 'operator')), {
      code: 'server.role-missing',
    });
    assert.equal(serving(), '1.0.0');
    await loadModel(house.guardian, 'flow', { version }, caller('bob', 'operator', 'approver'));
    assert.equal(serving(), version);
  });

  test('puts nothing in place that a promotion would refuse', async () => {
    house = await openServedHouse({ withModel: false, config: { registry: { approvals: 2 } } });
    const { guardian } = house;
    const version = await publish();
    const carol = caller('carol', 'operator', 'approver');
    const load = () => loadModel(guardian, 'flow', { version }, carol);
    await assert.rejects(load(), { code: 'registry.approvals-missing' });
    await guardian.registry.approve('flow', version, { principal: 'ada' });
    await assert.rejects(load(), { code: 'registry.approvals-missing' });
    assert.equal(serving(), undefined);
    await guardian.registry.approve('flow', version, { principal: 'bob' });
    await load();
    assert.equal(serving(), version);
    const gates = [
      { name: 'accuracy', passed: false, value: 0.5, threshold: 0.8, comparison: '>=' },
    ] as const;
    const candidate = flowCandidate(house.schema, 'flow', 0.75);
    const failed = await publish({
      ...candidate,
      gateReport: { ...candidate.gateReport, passed: false, gates },
    });
    await assert.rejects(loadModel(guardian, 'flow', { version: failed }, carol));
    assert.equal(serving(), version);
  });
});
