import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { randomRows } from '../../test/support/random-model.ts';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import type { AuditEntry } from '../audit/index.ts';
import { ManualClock, Metrics, SeededRandom, silentLogger } from '../base/index.ts';
import { type CertificateChange, Engine } from '../inference/index.ts';
import { CertificateNotes } from './certificate-notes.ts';

const ROWS = 200;

suite('changes of a certificate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certificate-notes-'));
  const { evaluator, data } = fixtureEvaluator();
  const clock = new ManualClock();
  let house: House;

  before(async () => {
    data.rows = 4_000;
    house = await openHouse(folder, clock, { evaluator });
    await house.registry.publish(makeCandidate(), { principal: 'author' });
    const source = { path: '/data', schemaBytes: FIXTURE_SCHEMA };
    await house.registry.registerGateData('flow', source, { principal: 'approver' });
    const terms = { origin: 'site', target: 0.05, expiresDays: 30 } as const;
    await house.registry.certify('flow', '1.0.0', terms, { principal: 'approver' });
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });

  test('stand in the log, an activation before it counts, a suspension with the columns that shifted', async () => {
    const notes = new CertificateNotes(house.log, silentLogger);
    const metrics = new Metrics();
    notes.observe(metrics);
    const config = { certificate: { windowRows: ROWS } };
    const engine = new Engine({ clock, config, noteCertificate: notes.note });
    const model = await house.registry.verify('flow@1.0.0');
    await engine.load(model, { certificate: await house.registry.certificate(model) });
    const random = new SeededRandom(20261123);
    const score = (shift: number) => {
      const values = randomRows(random, ROWS);
      if (shift > 0) for (let i = 0; i < values.length; i += 3) values[i] = shift;
      const batch = { schemaId: model.schemaId, sourceKind: 'packets', rows: ROWS, columns: 3, values };
      return engine.score({ ...batch, rejected: [] });
    };
    const before = house.log.size;
    await score(0);
    assert.equal(engine.current()?.certificate, 'suspended', 'not before it is in the log');
    await notes.settled();
    assert.equal(engine.current()?.certificate, 'active');
    await score(1e9);
    assert.equal(engine.current()?.certificate, 'suspended', 'at once');
    await notes.settled();

    const entries: AuditEntry[] = [];
    for await (const { entry } of house.log.entries(before, house.log.size)) entries.push(entry);
    assert.deepEqual(
      entries.map(({ kind, action, subject, result }) => [kind, action, subject, result]),
      [
        ['intent', 'certificate.activate', 'flow@1.0.0', undefined],
        ['outcome', 'certificate.activate', 'flow@1.0.0', 'done'],
        ['event', 'certificate.suspend', 'flow@1.0.0', undefined],
      ],
    );
    const { detail } = entries[2] as AuditEntry;
    assert.deepEqual([detail.reason, detail.rows, detail.sourceKind], ['shifted', ROWS, 'packets']);
    const shifted = detail.shifted as readonly { readonly name: string }[];
    assert.ok(shifted.some(({ name }) => name === 'duration'));
    const text = await metrics.text();
    assert.match(text, /guardian_certificate_changes_total\{change="suspend",reason="shifted"\} 1/);
  });

  test('that cannot be noted do not happen', async () => {
    const log = Object.assign(Object.create(house.log), { append: () => Promise.reject(new Error('full')) });
    const notes = new CertificateNotes(log, silentLogger);
    let applied = false;
    const change: CertificateChange = {
      model: { name: 'flow', version: '1.0.0' },
      change: 'activate',
      sourceKind: 'packets',
      reason: 'like the calibration data',
      rows: ROWS,
      shifted: [],
      certificate: 'sha256:',
    };
    await assert.rejects(
      notes.note(change, () => {
        applied = true;
      }),
    );
    await notes.settled();
    assert.equal(applied, false);
  });
});
