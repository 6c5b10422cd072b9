import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { FIXTURE_SCHEMA, makeCandidate } from '../../test/support/registry-fixture.ts';
import { canonicalJson, sha256, sha256Hex } from '../crypto/index.ts';
import { BoostedModel, decodeModel, encodeModel } from '../models/index.ts';
import { SIGNED_FILES } from './manifest.ts';
import { signStatement } from './oms.ts';
import { type Evidence, VERIFICATION_STEPS, VerifiedModel, verifyModel } from './verify.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
const signer = { publicKeyPem, sign: async (message: Uint8Array) => sign('sha256', message, privateKey) };

/** What can be wrong although the trusted key signed it: each part may be given, the rest fits it. */
interface Parts {
  readonly weights?: Uint8Array;
  readonly schema?: Uint8Array;
  readonly sourceKinds?: readonly string[];
  readonly gates?: Readonly<Record<string, unknown>>;
  readonly manifest?: Readonly<Record<string, unknown>>;
  readonly modelName?: string;
  readonly extraFile?: boolean;
}

const candidate = makeCandidate();

async function signed(parts: Parts = {}): Promise<Evidence> {
  const weights = parts.weights ?? candidate.modelBytes;
  const schema = parts.schema ?? FIXTURE_SCHEMA;
  const gates = Buffer.from(
    canonicalJson({ ...candidate.gateReport, modelDigest: sha256(weights), ...parts.gates }),
  );
  const { dataDigest, configuration, seed, trainer } = candidate.provenance;
  const manifest = Buffer.from(
    canonicalJson({
      v: 1,
      name: 'flow',
      version: '1.0.0',
      weights: { digest: sha256(weights), size: weights.length },
      schemaId: sha256(schema),
      sourceKinds: parts.sourceKinds ?? ['packets'],
      dataDigest,
      configuration,
      seed,
      trainer,
      gateReportDigest: sha256(gates),
      createdAt: '2026-01-01T00:00:00Z',
      author: 'ada',
      ...parts.manifest,
    }),
  );
  const digests = new Map([
    [SIGNED_FILES.weights, sha256Hex(weights)],
    [SIGNED_FILES.manifest, sha256Hex(manifest)],
    [SIGNED_FILES.gates, sha256Hex(gates)],
    [SIGNED_FILES.schema, sha256Hex(schema)],
    ...(parts.extraFile === true ? [['extra.bin', sha256Hex('x')] as const] : []),
  ]);
  const signature = await signStatement({ modelName: parts.modelName ?? 'flow@1.0.0', digests }, signer);
  return {
    signature,
    manifest,
    gates,
    schema,
    weights: { kind: 'plain', bytes: weights },
    trusted: [{ publicKeyPem }],
  };
}

function modelFor(schema: Uint8Array): Uint8Array {
  return encodeModel(
    new BoostedModel({ ...decodeModel(candidate.modelBytes).parts, schemaId: sha256(schema) }),
  );
}

const OTHER_COLUMNS = Buffer.from(canonicalJson({ v: 1, columns: [{ name: 'duration' }, {}, 7] }));
const NO_COLUMNS = Buffer.from(canonicalJson({ v: 1 }));

describe('verification', () => {
  test('accepts what fits together', async () => {
    const { model, weights } = await verifyModel(await signed());
    assert.ok(VerifiedModel.isVerified(model));
    assert.deepEqual(weights, Uint8Array.from(candidate.modelBytes));
    assert.notEqual(weights, candidate.modelBytes);
  });

  const WRONG: Readonly<Record<string, readonly [Parts, string]>> = {
    'signs a fifth file': [{ extraFile: true }, 'registry.file-tampered'],
    'is signed under another name': [{ modelName: 'flow@1.0.1' }, 'registry.manifest-mismatch'],
    'has a manifest with an unknown field': [{ manifest: { x: 1 } }, 'registry.manifest-mismatch'],
    'has a manifest of a later format': [{ manifest: { v: 2 } }, 'registry.manifest-mismatch'],
    'names other weights': [
      { manifest: { weights: { digest: sha256('x'), size: 1 } } },
      'registry.manifest-mismatch',
    ],
    'names another gate report': [
      { manifest: { gateReportDigest: sha256('x') } },
      'registry.manifest-mismatch',
    ],
    'names another schema': [{ manifest: { schemaId: sha256('x') } }, 'registry.manifest-mismatch'],
    'was gated as another model': [{ gates: { modelDigest: sha256('x') } }, 'registry.manifest-mismatch'],
    'has a gate report that contradicts itself': [{ gates: { passed: false } }, 'registry.manifest-mismatch'],
    'states another size': [
      { manifest: { weights: { digest: sha256(candidate.modelBytes), size: 1 } } },
      'registry.weights-tampered',
    ],
    'has weights that are no model': [{ weights: Buffer.from('weights') }, 'registry.model-unreadable'],
    'has a model for another schema': [{ schema: OTHER_COLUMNS }, 'registry.model-mismatch'],
    'has a model for other sources': [{ sourceKinds: ['zeek'] }, 'registry.model-mismatch'],
    'has other columns than its schema': [
      { schema: OTHER_COLUMNS, weights: modelFor(OTHER_COLUMNS) },
      'registry.model-mismatch',
    ],
    'has a schema without columns': [
      { schema: NO_COLUMNS, weights: modelFor(NO_COLUMNS) },
      'registry.model-mismatch',
    ],
    'has a schema that is no JSON': [
      { schema: Buffer.from('x'), weights: modelFor(Buffer.from('x')) },
      'registry.model-mismatch',
    ],
  };
  for (const [title, [parts, code]] of Object.entries(WRONG)) {
    test(`refuses a model that ${title}, though the trusted key signed it`, async () => {
      await assert.rejects(verifyModel(await signed(parts)), { code, category: 'security' });
    });
  }

  test('reports the first step that fails, whatever else is wrong', async () => {
    const evidence = await signed();
    const weights = { kind: 'plain', bytes: Buffer.from('x') } as const;
    const schema = Buffer.from('x');
    const signature = Buffer.from('x');
    const code = async (changed: Evidence) =>
      await verifyModel(changed).then(
        () => 'accepted',
        (error) => error.code,
      );
    assert.equal(await code({ ...evidence, weights }), VERIFICATION_STEPS.digest);
    assert.equal(await code({ ...evidence, weights, schema }), VERIFICATION_STEPS.files);
    assert.equal(await code({ ...evidence, weights, schema, signature }), 'registry.bundle-malformed');
  });

  test('never reads the wraps of a model whose signature does not hold', async () => {
    const { signature, ...evidence } = await signed();
    const weights = {
      kind: 'sealed',
      blob: new Uint8Array(0),
      get keys(): never {
        return assert.fail('the key store was asked');
      },
      wraps: () => assert.fail('the wraps were read'),
    } as const;
    const changed = Uint8Array.from(signature);
    changed[100] = (changed[100] ?? 0) ^ 1;
    await assert.rejects(verifyModel({ ...evidence, signature: changed, weights }), { category: 'security' });
  });

  test('parses the copy whose digest it took, not bytes that change afterwards', async () => {
    const bytes = Uint8Array.from(candidate.modelBytes);
    const evidence = { ...(await signed()), weights: { kind: 'plain', bytes } as const };
    const verification = verifyModel(evidence);
    const { model, weights } = await verification;
    bytes.fill(0);
    assert.equal(sha256(weights), model.digest);
    assert.equal(sha256(encodeModel(model.model)), model.digest);
  });
});
