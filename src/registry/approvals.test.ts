import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { approvalsRequired } from './approvals.ts';
import type { RegistryContext } from './context.ts';

const [ADA, BOB, CAROL, OPS] = ['ada', 'bob', 'carol', 'ops'].map((principal) => ({ principal })) as [
  { principal: string },
  { principal: string },
  { principal: string },
  { principal: string },
];
const DAY_MS = 86_400_000;

let folder: string;
let house: House;
let clock: ManualClock;
const { evaluator, data } = fixtureEvaluator();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'approvals-'));
  clock = new ManualClock();
  await open();
  for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), ADA);
});

afterEach(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(): Promise<void> {
  house = await openHouse(folder, clock, { policy: { approvals: 2, approvalDays: 10 }, evaluator });
}

const promote = () => house.registry.promote('flow', '1.0.0', 'champion', OPS);

async function approveTwice(): Promise<void> {
  await house.registry.approve('flow', '1.0.0', BOB);
  await house.registry.approve('flow', '1.0.0', CAROL);
}

describe('two people', () => {
  test('have to approve: the refusal says how many are wanting', async () => {
    await assert.rejects(promote(), { code: 'registry.approvals-missing', message: /0 of 2 .* 2 wanting/ });
    await house.registry.approve('flow', '1.0.0', BOB);
    await assert.rejects(promote(), { code: 'registry.approvals-missing', message: /1 of 2 .* 1 wanting/ });
    await house.registry.approve('flow', '1.0.0', CAROL);
    const change = await promote();
    assert.deepEqual(change.approvals, ['bob', 'carol']);
    assert.equal(change.approvalsRequired, 2);
    assert.equal(change.approvalIntents.length, 2);
    assert.equal(change.principal, 'ops');
    assert.equal(change.gates, 'submitter');
  });

  test('are two: one who approves twice counts once', async () => {
    await house.registry.approve('flow', '1.0.0', BOB);
    await house.registry.approve('flow', '1.0.0', BOB);
    await assert.rejects(promote(), { code: 'registry.approvals-missing', message: /1 wanting/ });
  });

  test('do not include the author, and the refusal stands in the log', async () => {
    await assert.rejects(house.registry.approve('flow', '1.0.0', ADA), {
      code: 'registry.approver-is-author',
    });
    const last = await house.log.entry(house.log.size - 1);
    assert.deepEqual(
      [last.action, last.result, last.reason],
      ['model.approve', 'failed', 'registry.approver-is-author'],
    );
  });

  test('approve one version and no other', async () => {
    await approveTwice();
    await assert.rejects(house.registry.promote('flow', '1.1.0', 'champion', OPS), {
      code: 'registry.approvals-missing',
    });
  });

  test('approve for some days', async () => {
    await house.registry.approve('flow', '1.0.0', BOB);
    clock.advance(9 * DAY_MS);
    const { expiresAt } = await house.registry.approve('flow', '1.0.0', CAROL);
    assert.equal(Date.parse(expiresAt), clock.now() + 10 * DAY_MS);
    clock.advance(DAY_MS);
    await assert.rejects(promote(), { code: 'registry.approvals-missing', message: /1 of 2/ });
    await house.registry.approve('flow', '1.0.0', BOB);
    await promote();
  });

  test('approve on gate data: other data ask for new approvals', async () => {
    await approveTwice();
    await house.registry.registerGateData('flow', { path: '/data', schemaBytes: FIXTURE_SCHEMA }, OPS);
    await assert.rejects(promote(), { code: 'registry.approvals-missing', message: /2 wanting/ });
    await approveTwice();
    const change = await promote();
    assert.equal(change.gates, 'evaluator');
    assert.equal(data.rows, 100);
  });

  test('are remembered by the log alone, through a restart', async () => {
    await approveTwice();
    await house.close();
    await open();
    assert.deepEqual(
      (await house.registry.show('flow@1.0.0')).approvals.map(({ principal }) => principal),
      ['bob', 'carol'],
    );
    await promote();
  });

  test('are not needed for the way back', async () => {
    await approveTwice();
    await promote();
    await house.registry.approve('flow', '1.1.0', BOB);
    await house.registry.approve('flow', '1.1.0', CAROL);
    await house.registry.promote('flow', '1.1.0', 'champion', OPS);
    clock.advance(100 * DAY_MS);
    const change = await house.registry.rollback('flow', 'champion', OPS);
    assert.deepEqual([change.version, change.approvals, change.approvalsRequired], ['1.0.0', ['ops'], 1]);
  });

  test('cannot approve what failed its gates, or what is not there', async () => {
    await house.registry.publish(makeCandidate({ seed: 3, passed: false }), ADA);
    await assert.rejects(house.registry.approve('flow', '1.2.0', BOB), { code: 'registry.gate-failed' });
    await assert.rejects(house.registry.approve('flow', '9.0.0', BOB), { code: 'registry.version-unknown' });
    await assert.rejects(house.registry.approve('../flow', '1.0.0', BOB), { code: 'registry.name-invalid' });
  });
});

test('two are wanted where keys are hardware or people come by OIDC, one on the embedded default', () => {
  const required = (kind: string, approvals: 1 | 2 | 'auto', method?: 'oidc' | 'local') =>
    approvalsRequired({ policy: { approvals }, keys: { kind } } as RegistryContext, {
      principal: 'x',
      ...(method && { method }),
    });
  assert.equal(required('file', 'auto', 'local'), 1);
  assert.equal(required('file', 'auto', 'oidc'), 2);
  assert.equal(required('pkcs11', 'auto', 'local'), 2);
  assert.equal(required('pkcs11', 1), 1);
  assert.equal(required('file', 2), 2);
});
