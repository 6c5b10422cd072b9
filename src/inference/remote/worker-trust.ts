import { readFile } from 'node:fs/promises';
import { InferenceError } from '../errors.ts';

/** Whose models a worker takes. It comes from a file of the worker's own machine, never from the bus. */
export interface WorkerTrust {
  /** Public keys (SPKI PEM). Where an ML-DSA-65 key is among them, a second signature is demanded. */
  readonly publicKeysPem: readonly string[];
  /** Roots of signers by certificate (PEM). */
  readonly rootCertificatesPem: readonly string[];
}

const BLOCK = /-----BEGIN (PUBLIC KEY|CERTIFICATE)-----[A-Za-z0-9+/=\s]+-----END \1-----/g;

/** Reads PEM blocks, one behind the other: public keys and root certificates. Throws `inference.trust-invalid`. */
export async function readTrustFile(path: string): Promise<WorkerTrust> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new InferenceError('inference.trust-invalid', `${path} cannot be read`, { cause });
  });
  const blocks = [...text.matchAll(BLOCK)];
  const of = (kind: string) => blocks.flatMap(([pem, found]) => (found === kind ? `${pem}\n` : []));
  const trust = { publicKeysPem: of('PUBLIC KEY'), rootCertificatesPem: of('CERTIFICATE') };
  // What is left over may be a key that somebody believes to be trusted, or a private one.
  const isWhole = !/-----BEGIN /.test(text.replaceAll(BLOCK, ''));
  if (blocks.length === 0 || !isWhole) {
    throw new InferenceError(
      'inference.trust-invalid',
      `expected PEM blocks of public keys or certificates in ${path}, and no others`,
    );
  }
  return trust;
}
