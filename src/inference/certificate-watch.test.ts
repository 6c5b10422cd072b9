import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { randomRows } from '../../test/support/random-model.ts';
import {
  FIXTURE_SCHEMA,
  fixtureEvaluator,
  type House,
  makeCandidate,
  openHouse,
} from '../../test/support/registry-fixture.ts';
import { ManualClock, SeededRandom } from '../base/index.ts';
import type { FeatureBatch } from '../features/index.ts';
import type { VerifiedCertificate, VerifiedModel } from '../registry/index.ts';
import { type CertificateChange, CertificateWatch } from './certificate-watch.ts';
import { Engine } from './engine.ts';

const WINDOW = 200;
const BY = { principal: 'approver' };
const DAY_MS = 86_400_000;

suite('a certificate while its model serves', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certificate-watch-'));
  const { evaluator, data } = fixtureEvaluator();
  const started = Date.UTC(2026, 0, 2);
  let clock = new ManualClock(started);
  let house: House;
  let model: VerifiedModel;
  const certificates: Record<string, VerifiedCertificate | undefined> = {};
  let changes: CertificateChange[] = [];
  let random = new SeededRandom(1);

  before(async () => {
    house = await openHouse(folder, new ManualClock(started), { evaluator });
    const { registry } = house;
    data.rows = 4_000;
    await registry.publish(makeCandidate(), { principal: 'author' });
    await registry.publish(makeCandidate({ seed: 2 }), { principal: 'author' });
    await registry.registerGateData('flow', { path: '/data', schemaBytes: FIXTURE_SCHEMA }, BY);
    model = await registry.verify('flow@1.0.0');
    for (const origin of ['lab', 'public', 'site'] as const) {
      await registry.certify('flow', '1.0.0', { origin, target: 0.05, expiresDays: 30 }, BY);
      certificates[origin] = await registry.certificate(model);
    }
  });
  after(async () => {
    await house.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    changes = [];
    random = new SeededRandom(20261123);
    clock = new ManualClock(started);
  });

  async function serve(origin = 'site', note = true): Promise<Engine> {
    const engine = new Engine({
      clock,
      config: { certificate: { windowRows: WINDOW } },
      ...(note && {
        noteCertificate: async (change: CertificateChange, apply: () => void) => {
          changes.push(change);
          apply();
        },
      }),
    });
    await engine.load(model, { certificate: certificates[origin] });
    return engine;
  }

  /** Live rows of the calibration data's law, or moved away from it. */
  function live(rows: number, shift = 0, change: Partial<FeatureBatch> = {}): FeatureBatch {
    const values = randomRows(random, rows);
    if (shift !== 0) for (let i = 0; i < values.length; i += 3) values[i] = shift;
    return {
      schemaId: model.schemaId,
      sourceKind: 'packets',
      rows,
      columns: 3,
      values,
      rejected: [],
      ...change,
    };
  }

  const stateOf = async (engine: Engine) =>
    new Set((await engine.score(live(1))).map((each) => each.certificate));

  test('ends at once and for good when the key that signed it is revoked', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    engine.withdrawCertificates('another key');
    assert.equal(engine.current()?.certificate, 'active');
    engine.withdrawCertificates(certificates.site?.signedBy ?? '');
    assert.deepEqual(await stateOf(engine), new Set(['refused']));
    await engine.score(live(WINDOW));
    assert.equal(engine.current()?.certificate, 'refused');
    assert.deepEqual(
      changes.map(({ change, reason }) => [change, reason]),
      [
        ['activate', 'like the calibration data'],
        ['suspend', 'revoked'],
      ],
    );
  });

  test('is suspended at the start, active after a window like its data, and says which decisions it covers', async () => {
    const engine = await serve();
    assert.equal(engine.current()?.certificate, 'suspended');
    const first = await engine.score(live(WINDOW - 1));
    assert.deepEqual(new Set(first.map(({ certificate }) => certificate)), new Set(['suspended']));
    await engine.score(live(1));
    assert.equal(engine.current()?.certificate, 'active');
    assert.deepEqual(
      changes.map(({ change, rows, sourceKind }) => [change, rows, sourceKind]),
      [['activate', WINDOW, 'packets']],
    );
    const claims = certificates.site?.certificate.claims;
    for (const { probability, certificate } of await engine.score(live(100))) {
      const side = probability >= model.model.threshold ? 'block' : 'allow';
      const sure = side === 'block' ? probability : 1 - probability;
      const claim = claims?.[side];
      const isCovered = claim?.status === 'site' && sure >= claim.threshold;
      assert.equal(certificate, isCovered ? 'active' : 'uncovered');
    }
  });

  test('covers other decisions beyond its cuts, and nowhere else', () => {
    const verified = certificates.site as VerifiedCertificate;
    const { decisionThreshold } = verified.certificate;
    const { config } = new Engine({ clock });
    const watch = new CertificateWatch({
      ...{ verified, model, decisionThreshold, config: config.certificate, clock, note: undefined },
    });
    for (let i = 1; i <= 10_000; i++) {
      const [low, high] = [(i - 1) / 10_000, i / 10_000];
      if (watch.covers(low) === watch.covers(high)) continue;
      assert.ok(
        watch.cuts.some((cut) => cut >= low && cut <= high),
        `${low} to ${high}`,
      );
    }
  });

  test('is suspended by a shifted window, which names the columns, and comes back with the traffic', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    await engine.score(live(WINDOW, 1e9));
    assert.equal(engine.current()?.certificate, 'suspended');
    const suspended = changes.at(-1);
    assert.equal(suspended?.change, 'suspend');
    assert.ok(suspended?.shifted.some(({ name }) => name === 'duration'));
    assert.match(engine.current()?.certified?.kinds[0]?.reason ?? '', /^shifted: .*duration/);
    await engine.score(live(WINDOW));
    assert.equal(engine.current()?.certificate, 'active');
  });

  test('a shift that begins inside a window is met within two windows', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    await engine.score(live(WINDOW - 5));
    await engine.score(live(WINDOW + 5, 1e9));
    assert.equal(engine.current()?.certificate, 'suspended');
  });

  for (const origin of ['lab', 'public']) {
    test(`from ${origin} data is refused whatever the traffic`, async () => {
      const engine = await serve(origin);
      await engine.score(live(3 * WINDOW));
      assert.equal(engine.current()?.certificate, 'refused');
      assert.deepEqual(await stateOf(engine), new Set(['refused']));
      assert.deepEqual(changes, []);
    });
  }

  test('an expired one is suspended, and does not come back', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    clock.advance(29 * DAY_MS);
    assert.equal(engine.current()?.certificate, 'suspended');
    await engine.score(live(2 * WINDOW));
    assert.deepEqual(
      changes.map(({ reason }) => reason),
      ['like the calibration data', 'expired'],
    );
    assert.equal(engine.current()?.certified?.kinds[0]?.reason, 'expired');
  });

  test('never becomes active where its activation cannot be noted, or nobody notes it', async () => {
    const deaf = await serve('site', false);
    await deaf.score(live(WINDOW));
    assert.equal(deaf.current()?.certificate, 'suspended');
    const engine = new Engine({
      clock,
      config: { certificate: { windowRows: WINDOW } },
      noteCertificate: () => Promise.reject(new Error('the log is full')),
    });
    await engine.load(model, { certificate: certificates.site });
    await engine.score(live(WINDOW));
    await Promise.resolve();
    assert.equal(engine.current()?.certificate, 'suspended');
  });

  test('an activation that is noted late does not outlive a shift', async () => {
    const waiting: (() => void)[] = [];
    const engine = new Engine({
      clock,
      config: { certificate: { windowRows: WINDOW } },
      noteCertificate: async (change, apply) => {
        if (change.change === 'activate') waiting.push(apply);
      },
    });
    await engine.load(model, { certificate: certificates.site });
    await engine.score(live(WINDOW));
    await engine.score(live(WINDOW, 1e9));
    waiting.at(0)?.();
    assert.equal(engine.current()?.certificate, 'suspended');
  });

  test('loading again begins anew, and the one before is suspended', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    await engine.load(model, { certificate: certificates.site });
    assert.equal(engine.current()?.certificate, 'suspended');
    assert.equal(changes.at(-1)?.reason, 'replaced');
  });

  test('rows that the extractor refused are not traffic that was decided on', async () => {
    const engine = await serve();
    const rejected = Array.from({ length: WINDOW }, (_, row) => ({ row, code: 'x', column: 'duration' }));
    await engine.score(live(WINDOW, 0, { rejected } as unknown as Partial<FeatureBatch>));
    assert.equal(engine.current()?.certified?.kinds[0]?.windowRows, 0);
  });

  test('a sample of hot traffic fills a window more slowly', async () => {
    const engine = new Engine({ clock, config: { certificate: { windowRows: WINDOW, sampleEvery: 10 } } });
    await engine.load(model, { certificate: certificates.site });
    await engine.score(live(1_000));
    assert.equal(engine.current()?.certified?.kinds[0]?.windowRows, 100);
  });

  test('belongs to one model: another one is not loaded with it, nor with a copy', async () => {
    const engine = new Engine({ clock });
    const other = await house.registry.verify('flow@1.1.0');
    const copy = { ...certificates.site } as VerifiedCertificate;
    for (const [verified, certificate] of [
      [other, certificates.site],
      [model, copy],
    ] as const) {
      await assert.rejects(engine.load(verified, { certificate }), { code: 'inference.not-verified' });
    }
    assert.equal(engine.current(), undefined);
  });

  test('a row of a source kind that it does not speak of has none', async () => {
    const engine = await serve();
    await engine.score(live(WINDOW));
    const [score] = await engine.score(live(1, 0, { sourceKind: 'zeek' }));
    assert.equal(score?.certificate, 'refused');
  });
});
