import type { z } from 'zod';
import { type Digest, GuardianError, type Milliseconds } from '../base/index.ts';
import {
  canonicalJson,
  isKeysAway,
  type KeyStore,
  open,
  parseCanonicalJson,
  sha256,
  sha256Hex,
  unwrapFromStore,
  type WrapSet,
} from '../crypto/index.ts';
import { type DetectionModel, readModel } from '../models/index.ts';
import { isWriterAway } from '../storage/index.ts';
import { RegistryError, type RegistryErrorCode } from './errors.ts';
import { GATE_REPORT, type GateReport } from './gate-report.ts';
import { MANIFEST, type Manifest, SIGNED_FILES } from './manifest.ts';
import { isByCertificate, type OmsStatement, type TrustedSigner, verifyBundle } from './oms.ts';
import { type SecondSignature, verifySecond } from './second-signature.ts';

/** Lets `VerifiedModel` be built in this file alone. */
const TOKEN = Symbol('verified');

/**
 * A model whose every byte was verified. Only `verifyModel` can build one; the engine asks `isVerified` at run time,
 * because a type alone would be gone by then. Its identity does not cross threads: a worker verifies again.
 */
export class VerifiedModel {
  readonly #brand = true;
  readonly name: string;
  readonly version: string;
  /** Of the plaintext weights. */
  readonly digest: Digest;
  readonly schemaId: Digest;
  /** Canonical JSON of the schema. */
  readonly schemaBytes: Uint8Array;
  readonly sourceKinds: readonly string[];
  readonly model: DetectionModel;
  readonly manifest: Manifest;
  readonly gates: GateReport;

  /** Throws `registry.unverified-construction` for everyone but `verifyModel`. */
  constructor(
    token: symbol,
    parts: { manifest: Manifest; gates: GateReport; schemaBytes: Uint8Array; model: DetectionModel },
  ) {
    if (token !== TOKEN || new.target !== VerifiedModel) {
      throw new RegistryError(
        'registry.unverified-construction',
        'a verified model comes from verification only',
      );
    }
    this.name = parts.manifest.name;
    this.version = parts.manifest.version;
    this.digest = parts.manifest.weights.digest;
    this.schemaId = parts.manifest.schemaId;
    this.schemaBytes = parts.schemaBytes;
    this.sourceKinds = parts.manifest.sourceKinds;
    this.model = parts.model;
    this.manifest = parts.manifest;
    this.gates = parts.gates;
    Object.freeze(this);
  }

  static isVerified(value: unknown): value is VerifiedModel {
    return typeof value === 'object' && value !== null && #brand in value && value.#brand;
  }
}

/**
 * All that a thread needs to verify a model again: plain values, which can be sent to it. They hold the plaintext weights and
 * are no proof of anything.
 */
export interface ThreadEvidence {
  readonly signature: Uint8Array;
  readonly manifest: Uint8Array;
  readonly gates: Uint8Array;
  readonly schema: Uint8Array;
  readonly weights: Uint8Array;
  readonly trusted: readonly TrustedSigner[];
  readonly at: Milliseconds;
  readonly second?: SecondSignature;
  readonly expected?: { readonly name: string; readonly version: string; readonly manifestDigest: Digest };
}

const THREAD_EVIDENCE = new WeakMap<VerifiedModel, ThreadEvidence>();

/** What another thread verifies this model by; it lives as long as the model. Undefined for what was not verified. */
export function threadEvidence(model: VerifiedModel): ThreadEvidence | undefined {
  return THREAD_EVIDENCE.get(model);
}

/** Verifies a model in the thread that is to use it, by the same steps. Throws as `verifyModel`. */
export async function verifyInThread(evidence: ThreadEvidence): Promise<VerifiedModel> {
  const { weights, ...others } = evidence;
  return (await verifyModel({ ...others, weights: { kind: 'plain', bytes: weights } })).model;
}

/** What verification starts from: untrusted bytes and what is trusted about them. */
export interface Evidence {
  readonly signature: Uint8Array;
  readonly manifest: Uint8Array;
  readonly gates: Uint8Array;
  readonly schema: Uint8Array;
  /** As stored, under a wrapped data key, or plain, as exported. Read when its turn comes. */
  readonly weights:
    | {
        readonly kind: 'sealed';
        readonly blob: Uint8Array;
        readonly keys: KeyStore;
        wraps(): Promise<WrapSet>;
      }
    | { readonly kind: 'plain'; readonly bytes: Uint8Array };
  readonly trusted: readonly TrustedSigner[];
  /** When certificates must be valid; now by default. */
  readonly at?: Milliseconds;
  /** Nothing is asked of it where it is left out. */
  readonly second?: SecondSignature;
  /** What was asked for, and the manifest's digest by the audit log. An export has neither. */
  readonly expected?: { readonly name: string; readonly version: string; readonly manifestDigest: Digest };
}

/** The steps in their one order, each with the error that any failure inside it becomes. */
export const VERIFICATION_STEPS = {
  signature: 'registry.signature-invalid',
  files: 'registry.file-tampered',
  manifest: 'registry.manifest-mismatch',
  unwrap: 'registry.wraps-tampered',
  decrypt: 'registry.weights-tampered',
  digest: 'registry.weights-tampered',
  parse: 'registry.model-unreadable',
  agreement: 'registry.model-mismatch',
} as const satisfies Record<string, RegistryErrorCode>;

export type VerificationStep = keyof typeof VERIFICATION_STEPS;

/**
 * Trust advances one step at a time and nothing is used before its step: the signature says which digests count, the
 * digests say which manifest counts, the manifest says which weights count, and the weights are parsed from the very
 * copy whose digest was taken. Throws `registry.*` of category security. `weights` is that copy.
 */
export async function verifyModel(
  evidence: Evidence,
): Promise<{ model: VerifiedModel; weights: Uint8Array }> {
  const statement = await step('signature', () => {
    const { at } = evidence;
    const signed = verifyBundle(evidence.signature, evidence.trusted, at === undefined ? {} : { at });
    if (evidence.second !== undefined) verifySecond(signed, evidence.second);
    return signed;
  });
  const files = await step('files', () => checkFiles(statement, evidence));
  const { manifest, gates } = await step('manifest', () => readManifest(statement, files, evidence));
  const plaintext = await readWeights(evidence.weights, manifest);
  const weights = await step('digest', () => copyAndCheck(plaintext, manifest, statement));
  const model = await step('parse', () => readModel(weights));
  await step('agreement', () => checkAgreement(model, manifest, files.schema));
  const verified = new VerifiedModel(TOKEN, { manifest, gates, schemaBytes: files.schema, model });
  const { signature, trusted, at = Date.now(), second, expected } = evidence;
  THREAD_EVIDENCE.set(verified, {
    ...{
      signature,
      manifest: files.manifest,
      gates: files.gates,
      schema: files.schema,
      weights,
      trusted,
      at,
    },
    ...(second !== undefined && { second }),
    ...(expected !== undefined && { expected }),
  });
  return { model: verified, weights };
}

/** Binds sealed weights to what they are the weights of. */
export function weightsContext(manifest: {
  name: string;
  version: string;
  weights: { digest: Digest };
}): Uint8Array {
  const { name, version, weights } = manifest;
  return Buffer.from(canonicalJson({ digest: weights.digest, name, version }));
}

/** The part of a schema that a model must agree with. Throws `registry.model-mismatch`. */
export function checkAgreement(
  model: DetectionModel,
  claims: { readonly schemaId: Digest; readonly sourceKinds: readonly string[] },
  schemaBytes: Uint8Array,
): void {
  if (sha256(schemaBytes) !== claims.schemaId || model.schemaId !== claims.schemaId) {
    throw mismatch('the schema is not the one the model was trained for');
  }
  if (!sameList([...model.sourceKinds].sort(), [...claims.sourceKinds].sort())) {
    throw mismatch('the model was trained for other source kinds');
  }
  if (!sameList(model.columnNames, schemaColumns(schemaBytes))) {
    throw mismatch('the model has other columns than its schema');
  }
}

interface SignedTexts {
  readonly manifest: Uint8Array;
  readonly gates: Uint8Array;
  readonly schema: Uint8Array;
}

/** Exactly the four files are signed, and the three plain ones are the signed ones. Copies them first. */
function checkFiles(statement: OmsStatement, evidence: Evidence): SignedTexts {
  const names = Object.values(SIGNED_FILES);
  if (statement.digests.size !== names.length || !names.every((name) => statement.digests.has(name))) {
    throw new RegistryError(
      'registry.file-tampered',
      `expected signatures over ${names.join(', ')} and no other file`,
    );
  }
  const copy = (part: 'manifest' | 'gates' | 'schema') => {
    const bytes = Uint8Array.from(evidence[part]);
    if (sha256Hex(bytes) !== statement.digests.get(SIGNED_FILES[part])) {
      throw new RegistryError('registry.file-tampered', `${SIGNED_FILES[part]} differs from what was signed`);
    }
    return bytes;
  };
  return { manifest: copy('manifest'), gates: copy('gates'), schema: copy('schema') };
}

function readManifest(
  statement: OmsStatement,
  files: SignedTexts,
  { expected, signature }: Evidence,
): { manifest: Manifest; gates: GateReport } {
  const manifest: Manifest = readJson(MANIFEST, files.manifest, 'manifest.json');
  const gates: GateReport = readJson(GATE_REPORT, files.gates, 'gates.json');
  const checks: Record<string, boolean> = {
    // Other tools name what they sign by its folder; the manifest, which is signed too, says what it is.
    'the signed name':
      statement.modelName === `${manifest.name}@${manifest.version}` || isByCertificate(signature),
    'the name asked for': expected === undefined || expected.name === manifest.name,
    'the version asked for': expected === undefined || expected.version === manifest.version,
    'the digest in the audit log':
      expected === undefined || expected.manifestDigest === sha256(files.manifest),
    'the weights that were signed':
      manifest.weights.digest === `sha256:${statement.digests.get(SIGNED_FILES.weights)}`,
    'the gate report': manifest.gateReportDigest === sha256(files.gates),
    'the gated model': gates.modelDigest === manifest.weights.digest,
    'the schema': manifest.schemaId === sha256(files.schema),
  };
  for (const [what, holds] of Object.entries(checks)) {
    if (!holds) throw new RegistryError('registry.manifest-mismatch', `the manifest does not fit ${what}`);
  }
  return { manifest: deepFreeze(manifest), gates: deepFreeze(gates) };
}

async function readWeights(weights: Evidence['weights'], manifest: Manifest): Promise<Uint8Array> {
  if (weights.kind === 'plain') return weights.bytes;
  const dataKey = await step('unwrap', async () => unwrapFromStore(weights.keys, await weights.wraps()));
  try {
    return await step('decrypt', () => open(weights.blob, dataKey, weightsContext(manifest)));
  } finally {
    dataKey.wipe();
  }
}

/** The digest is taken over a copy that nobody else holds, so that it cannot change before it is parsed. */
function copyAndCheck(plaintext: Uint8Array, manifest: Manifest, statement: OmsStatement): Uint8Array {
  const copy = Uint8Array.from(plaintext);
  const digest = sha256Hex(copy);
  if (
    copy.length !== manifest.weights.size ||
    manifest.weights.digest !== `sha256:${digest}` ||
    statement.digests.get(SIGNED_FILES.weights) !== digest
  ) {
    throw new RegistryError(
      'registry.weights-tampered',
      'the weights have another digest or size than was signed',
    );
  }
  return copy;
}

/** Runs one step; an error of another room becomes the step's own, with its cause. */
async function step<T>(name: VerificationStep, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    // That keys are away says nothing about the model.
    if (cause instanceof RegistryError || isKeysAway(cause) || isWriterAway(cause)) throw cause;
    const reason = cause instanceof GuardianError ? cause.code : 'unexpected failure';
    throw new RegistryError(VERIFICATION_STEPS[name], `verification stopped at step ${name}: ${reason}`, {
      cause,
    });
  }
}

function readJson<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  const parsed = schema.safeParse(
    parseCanonicalJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes)),
  );
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new RegistryError(
    'registry.manifest-mismatch',
    `${what}: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

function schemaColumns(bytes: Uint8Array): readonly string[] {
  const schema: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  if (
    typeof schema !== 'object' ||
    schema === null ||
    !('columns' in schema) ||
    !Array.isArray(schema.columns)
  ) {
    throw mismatch('the schema lists no columns');
  }
  return schema.columns.map((column: unknown) =>
    typeof column === 'object' && column !== null && 'name' in column ? String(column.name) : '',
  );
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

function mismatch(message: string): RegistryError {
  return new RegistryError('registry.model-mismatch', message);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
