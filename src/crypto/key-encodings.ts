import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { CryptoError } from './errors.ts';

/** DER of `SubjectPublicKeyInfo` up to the key itself (RFC 5480 section 2, RFC 8410 section 4). */
const SPKI_PREFIX = {
  'ecdsa-p256': Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'),
  ed25519: Buffer.from('302a300506032b6570032100', 'hex'),
} as const;
const POINT_BYTES = { 'ecdsa-p256': 65, ed25519: 32 } as const;

/** DER of the curve, for CKA_EC_PARAMS. */
export const CURVE_PARAMETERS = {
  'ecdsa-p256': Buffer.from('06082a8648ce3d030107', 'hex'),
  ed25519: Buffer.from('06032b6570', 'hex'),
} as const;

/** DER of a PKCS#8 ML-DSA-65 key up to its 32 bytes of seed (RFC 9881, the form that holds the seed alone). */
const ML_DSA_65_PREFIX = Buffer.from('3034020100300b060960864801650304031204228020', 'hex');
export const ML_DSA_SEED_BYTES = 32;

/** The SPKI of a CKA_EC_POINT, which PKCS#11 wraps in an OCTET STRING and some tokens do not. Throws `crypto.hsm-failed`. */
export function publicKeyOfPoint(curve: keyof typeof SPKI_PREFIX, point: Buffer): KeyObject {
  const bytes = POINT_BYTES[curve];
  const isWrapped = point.length === bytes + 2 && point[0] === 0x04 && point[1] === bytes;
  const raw = isWrapped ? point.subarray(2) : point;
  if (raw.length !== bytes) {
    throw new CryptoError(
      'crypto.hsm-failed',
      `expected a public point of ${bytes} bytes, got ${point.length}`,
    );
  }
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX[curve], raw]), format: 'der', type: 'spki' });
}

/** ECDSA r||s as the DER that signatures travel in (RFC 3279 section 2.2.3). */
export function ecdsaDer(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  const body = Buffer.concat([derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half))]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

/** The private key of a seed; the caller wipes the seed. */
export function mlDsaKey(seed: Uint8Array): KeyObject {
  const der = Buffer.concat([ML_DSA_65_PREFIX, seed]);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } finally {
    der.fill(0);
  }
}

/** Shortest form, positive. */
function derInteger(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const digits = bytes.subarray(from);
  const sign = ((digits[0] ?? 0) & 0x80) === 0 ? [] : [0];
  return Buffer.from([0x02, sign.length + digits.length, ...sign, ...digits]);
}
