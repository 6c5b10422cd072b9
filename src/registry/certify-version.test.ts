import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { canonicalJson, parseCanonicalJson, sha256 } from '../crypto/index.ts';
import type { CertificationTerms } from './gate-evaluator.ts';
import { signCertificate, VerifiedCertificate, verifyCertificate } from './verified-certificate.ts';
import type { VerifiedModel } from './verify.ts';

const BY = { principal: 'approver' };
const TERMS: CertificationTerms = { origin: 'site', target: 0.05, expiresDays: 30 };

suite('certifying a version', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certify-'));
  const { evaluator, data } = fixtureEvaluator();
  let house: House;
  let model: VerifiedModel;

  before(async () => {
    data.rows = 4_000;
    house = await openHouse(folder, new ManualClock(), { evaluator });
    for (const seed of [1, 2]) await house.registry.publish(makeCandidate({ seed }), { principal: 'author' });
    model = await house.registry.verify('flow@1.0.0');
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  const certify = (terms: Partial<CertificationTerms> = {}, version = '1.0.0') =>
    house.registry.certify('flow', version, { ...TERMS, ...terms }, BY);
  const register = () =>
    house.registry.registerGateData('flow', { path: '/data', schemaBytes: FIXTURE_SCHEMA }, BY);

  async function entries(): Promise<
    readonly { kind: string; result?: string; detail: Readonly<Record<string, unknown>> }[]
  > {
    const found = [];
    for await (const { entry } of house.log.entries(0, house.log.size)) {
      if (entry.action === 'model.certify') found.push(entry);
    }
    return found;
  }

  test('needs registered data, and says so in the log', async () => {
    await assert.rejects(certify(), { code: 'registry.gate-data-missing' });
    assert.deepEqual(
      (await entries()).map(({ kind, result }) => result ?? kind),
      ['intent', 'failed'],
    );
    assert.equal(await house.registry.certificate(model), undefined);
  });

  test('attaches a certificate that the evaluator signed, between intent and outcome', async () => {
    const { digest } = await register();
    const made = await certify();
    assert.deepEqual([made.origin, made.calibrationDigest, made.principal], ['site', digest, 'approver']);
    const verified = await house.registry.certificate(model);
    assert.ok(VerifiedCertificate.isVerified(verified));
    assert.equal(verified.digest, made.certificate);
    const { certificate } = verified;
    assert.deepEqual([certificate.modelDigest, certificate.schemaId], [model.digest, model.schemaId]);
    assert.deepEqual(certificate.claims, made.claims);
    const [intent, outcome] = (await entries()).slice(-2);
    assert.deepEqual([intent?.kind, outcome?.result], ['intent', 'done']);
    assert.equal(intent?.detail.certificate, made.certificate);
    const details = await house.registry.show('flow@1.0.0');
    assert.equal(details.certificate?.origin, 'site');
    assert.ok(!('drift' in (details.certificate ?? {})));
    assert.equal((await house.registry.show('flow@1.1.0')).certificate, null);
  });

  test('survives a restart, and a later one takes its place', async () => {
    const made = await certify({ expiresDays: 10 });
    await house.close();
    house = await openHouse(folder, new ManualClock(), { evaluator });
    assert.equal((await house.registry.certificate(model))?.digest, made.certificate);
  });

  test('refuses 99.999 % and says how many decisions are wanting', async () => {
    await assert.rejects(certify({ target: 1e-5 }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'registry.certification-refused');
      assert.match(error.message, /block 99.999 % refused for want of 29\d,\d{3} decisions/);
      return true;
    });
    assert.equal((await entries()).at(-1)?.result, 'failed');
  });

  test('refuses data that the model was trained on, other data than registered, and terms out of range', async () => {
    const { digest } = data;
    data.digest = model.manifest.dataDigest;
    await register();
    await assert.rejects(certify(), { code: 'registry.certification-unfit' });
    data.digest = sha256('others');
    await register();
    data.digest = digest;
    await assert.rejects(certify(), { code: 'registry.gate-data-changed' });
    await register();
    for (const terms of [{ target: 0 }, { target: 1 }, { expiresDays: 0 }, { expiresDays: 367 }]) {
      await assert.rejects(certify(terms), { code: 'registry.certification-unfit' });
    }
  });

  test('refuses a certificate of which anything was changed', async () => {
    const { certificate, ...logged } = await certify();
    const name = `certificates/${certificate.replace('sha256:', '')}.json`;
    const good = await house.blobs.get(name);
    const envelope = parseCanonicalJson(Buffer.from(good).toString()) as {
      payload: string;
      signatures: { keyid: string; sig: string }[];
    };
    const says = (await house.registry.certificate(model))?.certificate;
    if (says === undefined) assert.fail();
    const flip = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1);
    const forged = async (change: object) => signCertificate(house.keys, { ...says, ...change });
    const log = { certificate, ...logged };
    /** A file that the log names all the same, to reach the checks behind it. */
    const named = (bytes: Uint8Array, change: object = {}) =>
      verifyCertificate(house.keys, bytes, model, { ...log, certificate: sha256(bytes), ...change });
    const [signature] = envelope.signatures;
    const table: readonly (readonly [string, Promise<unknown>, string])[] = [
      [
        'another file than the log names',
        verifyCertificate(house.keys, Buffer.from('{}'), model, log),
        'certification-mismatch',
      ],
      [
        'another payload',
        named(Buffer.from(canonicalJson({ ...envelope, payload: flip(envelope.payload) }))),
        'evidence-tampered',
      ],
      [
        'another signature',
        named(
          Buffer.from(
            canonicalJson({ ...envelope, signatures: [{ ...signature, sig: flip(signature?.sig ?? '') }] }),
          ),
        ),
        'evidence-tampered',
      ],
      [
        'a signature by the key of models',
        house.keys
          .active('model-signing')
          .then(({ id }) =>
            named(Buffer.from(canonicalJson({ ...envelope, signatures: [{ ...signature, keyid: id }] }))),
          ),
        'evidence-tampered',
      ],
      [
        'another model',
        forged({ modelDigest: sha256('x') }).then((bytes) => named(bytes)),
        'certification-mismatch',
      ],
      [
        'another schema',
        forged({ schemaId: sha256('x') }).then((bytes) => named(bytes)),
        'certification-mismatch',
      ],
      [
        'other source kinds',
        forged({ sourceKinds: ['zeek'] }).then((bytes) => named(bytes)),
        'certification-mismatch',
      ],
      [
        'data that the model was trained on',
        forged({ calibration: { ...says.calibration, digest: model.manifest.dataDigest } }).then((bytes) =>
          named(bytes, { calibrationDigest: model.manifest.dataDigest }),
        ),
        'certification-mismatch',
      ],
      ['another origin than logged', named(good, { origin: 'lab' }), 'certification-mismatch'],
      ['other data than logged', named(good, { calibrationDigest: sha256('x') }), 'certification-mismatch'],
      [
        'a later end than logged',
        named(good, { expiresAt: '2026-01-05T00:00:00.000Z' }),
        'certification-mismatch',
      ],
      [
        'other columns',
        forged({ drift: { ...says.drift, columns: says.drift.columns.slice(1) } }).then((bytes) =>
          named(bytes),
        ),
        'certification-mismatch',
      ],
    ];
    await named(good);
    for (const [what, attempt, code] of table) {
      await assert.rejects(attempt, { code: `registry.${code}`, category: 'security' }, what);
    }
    await house.blobs.delete(name);
    await assert.rejects(house.registry.certificate(model), { code: 'registry.certification-mismatch' });
    await house.blobs.put(name, good);
    await house.registry.certificate(model);
  });

  test('a certificate is of one version: another one of the model has none', async () => {
    assert.equal(await house.registry.certificate(await house.registry.verify('flow@1.1.0')), undefined);
    const Forger = VerifiedCertificate as unknown as new (token: symbol, parts: object) => unknown;
    assert.throws(() => new Forger(Symbol('verified'), {}), { code: 'registry.unverified-construction' });
    for (const impostor of [{}, Object.create(VerifiedCertificate.prototype), null]) {
      assert.equal(VerifiedCertificate.isVerified(impostor), false);
    }
  });
});
