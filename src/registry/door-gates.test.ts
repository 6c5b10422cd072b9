import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  FIXTURE_SCHEMA,
  type FixtureGateData,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { dssePreAuthEncoding, sha256 } from '../crypto/index.ts';
import { evidenceBlob } from './door-gates.ts';
import { verifyEvaluatorReport } from './evaluator-report.ts';
import type { RegistryPolicy } from './policy.ts';

const ADA = { principal: 'ada' };
const BOB = { principal: 'bob' };
const SOURCE = { path: '/data/set.csv', schemaBytes: FIXTURE_SCHEMA };

let folder: string;
let house: House;
let data: FixtureGateData;
let asked: { candidate: string; champion: string | undefined }[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'door-'));
  await open({});
  for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), ADA);
});

afterEach(async () => {
  await house.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(policy: Partial<RegistryPolicy>): Promise<void> {
  const fixture = fixtureEvaluator();
  ({ data, asked } = fixture);
  house = await openHouse(folder, new ManualClock(), { policy, evaluator: fixture.evaluator });
}

const promote = (version = '1.0.0') => house.registry.promote('flow', version, 'champion', BOB);

describe('gates at the door', () => {
  test("are the submitter's where no data are registered, and the record says so", async () => {
    assert.equal((await promote()).gates, 'submitter');
    assert.deepEqual(asked, []);
    assert.equal((await house.registry.show('flow')).evidence, null);
  });

  test('are refused without data where policy wants the evaluator', async () => {
    await house.close();
    await open({ gates: 'evaluator' });
    await assert.rejects(promote(), { code: 'registry.gate-data-missing' });
    await house.registry.registerGateData('flow', SOURCE, BOB);
    assert.equal((await promote()).gates, 'evaluator');
  });

  test("run again on registered data; the evaluator's key signs the report", async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    const change = await promote();
    assert.equal(change.gates, 'evaluator');
    const { evidence } = await house.registry.show('flow');
    const key = await house.keys.active('evaluator-signing');
    assert.equal(evidence?.signedBy, key.id);
    assert.equal(evidence.digest, sha256(makeCandidate({ seed: 1 }).modelBytes));
    assert.equal(evidence.schemaId, sha256(FIXTURE_SCHEMA));
    assert.deepEqual(evidence.data, { digest: data.digest, rows: 100, attacks: 40 });
    assert.equal(evidence.gates.gates[0]?.value, 0.9);
    assert.deepEqual([evidence.drift, evidence.driftNote], [null, 'there is no champion yet']);
    assert.ok(evidence.securityChecks.includes('signature') && evidence.securityChecks.includes('decrypt'));
    const entry = await house.log.entry(change.intent);
    assert.equal(entry.detail.evidence, change.evidence);
  });

  test('compare the candidate with the champion', async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    await promote();
    await promote('1.1.0');
    assert.deepEqual(asked, [
      { candidate: '1.0.0', champion: undefined },
      { candidate: '1.1.0', champion: '1.0.0' },
    ]);
    const { evidence } = await house.registry.show('flow@1.1.0');
    assert.equal(evidence?.drift?.version, '1.0.0');
    assert.equal(evidence.drift.metrics.accuracy, 0.001);
  });

  test('keep out what fails them here, and keep the report', async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    data.accuracy = 0.7;
    await assert.rejects(promote(), { code: 'registry.gate-failed' });
    await assert.rejects(house.registry.resolve('flow'), { code: 'registry.alias-unknown' });
    const [report] = await house.blobs.list('evidence');
    const { gates } = await verifyEvaluatorReport(house.keys, await house.blobs.get(report as string));
    assert.equal(gates.passed, false);
  });

  test('refuse data that are no longer those registered', async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    data.digest = sha256('other data');
    await assert.rejects(promote(), { code: 'registry.gate-data-changed', category: 'security' });
    const last = await house.log.entry(house.log.size - 1);
    assert.deepEqual([last.action, last.reason], ['model.promote', 'registry.gate-data-changed']);
  });

  test('refuse data of another schema, of one class, or with a relative path', async () => {
    const other = { ...SOURCE, schemaBytes: Buffer.from('{"columns":[]}') };
    await house.registry.registerGateData('flow', other, BOB);
    await assert.rejects(promote(), { code: 'registry.gate-data-unfit' });
    data.attacks = 0;
    await assert.rejects(house.registry.registerGateData('flow', SOURCE, BOB), {
      code: 'registry.gate-data-unfit',
    });
    await assert.rejects(house.registry.registerGateData('flow', { ...SOURCE, path: 'set.csv' }, BOB), {
      code: 'registry.gate-data-unfit',
    });
  });

  test('are registered in the log alone: a restart knows them', async () => {
    const registered = await house.registry.registerGateData(
      'flow',
      { ...SOURCE, labels: '/data/labels' },
      BOB,
    );
    await house.close();
    await open({});
    assert.deepEqual(house.registry.gateData('flow'), registered);
    assert.equal(house.registry.gateData('other'), undefined);
  });

  test('a champion that does not verify is replaced, and the report says that nothing was compared', async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    await promote();
    const path = join(folder, 'state', 'blobs', 'models', 'flow', '1.0.0', 'model.agm.sealed');
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(path, bytes);
    await promote('1.1.0');
    const { evidence } = await house.registry.show('flow');
    assert.match(evidence?.driftNote ?? '', /1\.0\.0 could not be verified: registry\.weights-tampered/);
  });
});

describe('the evidence', () => {
  test('is refused once it is gone or changed', async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    const { evidence } = await promote();
    assert.ok(evidence);
    const path = join(folder, 'state', 'blobs', evidenceBlob(evidence));
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, `${text} `);
    await assert.rejects(house.registry.show('flow'), { code: 'registry.evidence-tampered' });
    rmSync(path);
    await assert.rejects(house.registry.servedAt('flow', 'champion', Number.MAX_SAFE_INTEGER / 2), {
      code: 'registry.evidence-tampered',
    });
  });

  test("does not count with a submitter's signature, or with any field changed", async () => {
    await house.registry.registerGateData('flow', SOURCE, BOB);
    const { evidence } = await promote();
    assert.ok(evidence);
    const bytes = await house.blobs.get(evidenceBlob(evidence));
    const envelope = JSON.parse(Buffer.from(bytes).toString('utf8'));
    const payload = Buffer.from(envelope.payload, 'base64');
    const submitter = await house.keys.active('model-signing');
    const message = dssePreAuthEncoding(envelope.payloadType, payload);
    const forged = Buffer.from(await house.keys.sign(submitter.id, message)).toString('base64');
    const better = Buffer.from(payload.toString('utf8').replace('"rows":100', '"rows":101')).toString(
      'base64',
    );
    const VARIANTS: Readonly<Record<string, unknown>> = {
      'another signer': { ...envelope, signatures: [{ keyid: submitter.id, sig: forged }] },
      'another payload': { ...envelope, payload: better },
      'another type': { ...envelope, payloadType: 'text/plain' },
      'no signature': { ...envelope, signatures: [] },
      'a second signature': { ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] },
    };
    await verifyEvaluatorReport(house.keys, bytes);
    for (const [what, variant] of Object.entries(VARIANTS)) {
      await assert.rejects(
        verifyEvaluatorReport(house.keys, Buffer.from(JSON.stringify(variant))),
        { code: 'registry.evidence-tampered' },
        what,
      );
    }
  });
});
