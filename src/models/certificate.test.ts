import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { canonicalJson, sha256 } from '../crypto/index.ts';
import { type Certificate, encodeCertificate, parseCertificate } from './certificate.ts';
import { certify } from './certify.ts';
import { fitDriftReference } from './drift.ts';

const ROWS = 4_000;
const probability = Float32Array.from({ length: ROWS }, (_, i) => (i % 2 === 0 ? 0.99 : 0.01));
const labels = Uint8Array.from(probability, (p) => (p > 0.5 ? 1 : 0));
const data = { probability, labels, origin: 'site' } as const;
const GOOD: Certificate = {
  v: 1,
  modelDigest: sha256('model'),
  schemaId: sha256('schema'),
  calibration: { digest: sha256('data'), rows: ROWS, attacks: ROWS / 2 },
  origin: 'site',
  sourceKinds: ['packets'],
  decisionThreshold: 0.5,
  claims: {
    block: certify(data, { side: 'block', target: 0.01 }),
    allow: certify(data, { side: 'allow', target: 1e-5 }),
  },
  issuedAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-02-01T00:00:00.000Z',
  drift: fitDriftReference(probability, probability, [{ name: 'bytes', categories: 0 }]),
};

suite('the certificate file', () => {
  test('comes back as it was written', () => {
    assert.equal(GOOD.claims.block.status, 'site');
    assert.equal(GOOD.claims.allow.status, 'refused');
    assert.deepEqual(parseCertificate(encodeCertificate(GOOD)), GOOD);
  });

  const { block, allow } = GOOD.claims;
  const column = GOOD.drift.columns[0] as (typeof GOOD.drift.columns)[number];
  const changes: readonly (readonly [string, object])[] = [
    ['another version', { v: 2 }],
    ['an unknown field', { more: 1 }],
    ['a digest of another form', { modelDigest: 'sha256:12' }],
    ['no source kind', { sourceKinds: [] }],
    ['an origin that is none', { origin: 'home' }],
    ['claims of another origin', { origin: 'lab' }],
    ['sides that were swapped', { claims: { block: allow, allow: block } }],
    ['a refusal called certified', { claims: { block, allow: { ...allow, status: 'site' } } }],
    ['fewer errors than the bound is of', { claims: { block: { ...block, bound: 1e-6 }, allow } }],
    ['more decisions than the bound is of', { claims: { block: { ...block, accepted: 3_999 }, allow } }],
    ['a target that the bound does not meet', { claims: { block: { ...block, target: 1e-5 }, allow } }],
    ['more errors than decisions', { claims: { block: { ...block, errors: 9_999 }, allow } }],
    ['no claim at all', { claims: { block: { ...allow, side: 'block' }, allow } }],
    ['more decisions than rows', { calibration: { ...GOOD.calibration, rows: 100, attacks: 50 } }],
    ['an end before its beginning', { expiresAt: '2025-12-01T00:00:00.000Z' }],
    ['a life of years', { expiresAt: '2030-01-01T00:00:00.000Z' }],
    [
      'bins that do not hold the rows',
      { drift: { ...GOOD.drift, columns: [{ ...column, counts: [1, 2, 3] }] } },
    ],
    ['edges that do not rise', { drift: { ...GOOD.drift, columns: [{ ...column, edges: [2, 1] }] } }],
  ];
  for (const [what, change] of changes) {
    test(`refuses ${what}`, () => {
      const bytes = Buffer.from(canonicalJson({ ...GOOD, ...change }));
      assert.throws(() => parseCertificate(bytes), {
        code: 'models.certificate-malformed',
        category: 'security',
      });
    });
  }

  test('refuses each field when it is missing, and bytes in another form', () => {
    for (const field of Object.keys(GOOD)) {
      const rest = Object.fromEntries(Object.entries(GOOD).filter(([name]) => name !== field));
      assert.throws(() => parseCertificate(Buffer.from(canonicalJson(rest))), {
        code: 'models.certificate-malformed',
      });
    }
    const bytes = encodeCertificate(GOOD);
    for (const cut of [0, 1, bytes.length - 1]) assert.throws(() => parseCertificate(bytes.subarray(0, cut)));
    assert.throws(() => parseCertificate(Buffer.from(JSON.stringify(GOOD, null, 1))));
    assert.throws(() => parseCertificate(new Uint8Array((8 << 20) + 1)));
  });
});
