import type { Bytes } from '../../base/index.ts';
import { sha256Hex } from '../../crypto/index.ts';
import {
  type ExportFiles,
  SECOND_SIGNATURE_FILE,
  SIGNATURE_FILE,
  SIGNED_FILES,
  threadEvidence,
  type VerifiedModel,
} from '../../registry/index.ts';
import { InferenceError } from '../errors.ts';

/**
 * The files of one verified model in one piece, as they go to a worker: magic, then each file as its length (u32, little
 * endian) and bytes, in the order of NAMES; a length of 0 where there is no second signature. Plaintext weights are in it,
 * so it goes over a sealed bus alone. It proves nothing: whoever takes it verifies it.
 */
const MAGIC = Buffer.from('AGBNDL01', 'latin1');
const NAMES: readonly string[] = [
  SIGNATURE_FILE,
  SIGNED_FILES.manifest,
  SIGNED_FILES.gates,
  SIGNED_FILES.schema,
  SIGNED_FILES.weights,
  SECOND_SIGNATURE_FILE,
];
/** Larger ones are not taken apart. */
export const MAX_BUNDLE_BYTES: Bytes = 1 << 30;

/** The bundle of a verified model; undefined for one without evidence. */
export function encodeBundle(verified: VerifiedModel): Uint8Array | undefined {
  const evidence = threadEvidence(verified);
  if (evidence === undefined) return undefined;
  const { signature, manifest, gates, schema, weights, second } = evidence;
  const files = [signature, manifest, gates, schema, weights, second?.bytes ?? new Uint8Array(0)];
  const parts: Uint8Array[] = [MAGIC];
  for (const file of files) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(file.length);
    parts.push(length, file);
  }
  return Buffer.concat(parts);
}

/** The files in a bundle, views on it. Throws `inference.offer-refused` for whatever is not exactly one bundle. */
export function decodeBundle(bytes: Uint8Array): ExportFiles {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length > MAX_BUNDLE_BYTES || !buffer.subarray(0, MAGIC.length).equals(MAGIC)) throw malformed();
  const files: Record<string, Uint8Array> = {};
  let at = MAGIC.length;
  for (const name of NAMES) {
    if (at + 4 > buffer.length) throw malformed();
    const length = buffer.readUInt32LE(at);
    at += 4;
    if (length > buffer.length - at) throw malformed();
    if (length > 0 || name !== SECOND_SIGNATURE_FILE) files[name] = buffer.subarray(at, at + length);
    at += length;
  }
  if (at !== buffer.length) throw malformed();
  return files;
}

/** Name of the object that holds a bundle: it says the digest of its bytes. */
export function bundleName(bytes: Uint8Array): string {
  return `model-${sha256Hex(bytes)}`;
}

function malformed(): InferenceError {
  return new InferenceError('inference.offer-refused', 'expected the bundle of one model, version 1');
}
