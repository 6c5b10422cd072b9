import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type Curve = 'P-256' | 'P-384' | 'P-521';

/** A certificate and its private key, as PEM files. */
export interface Certified {
  readonly certFile: string;
  readonly keyFile: string;
  readonly pem: string;
  readonly der: Uint8Array;
}

/** Lines of an openssl extension file. */
export const AUTHORITY = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
export const SIGNER = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=codeSigning',
];

export interface CertifyOptions {
  readonly by?: Certified;
  readonly extensions?: readonly string[];
  /** `P-256` by default; `ec` curves openssl knows, or RSA of so many bits. */
  readonly key?: Curve | 'secp256k1' | number;
  /** From now; negative: over already. */
  readonly days?: number;
  readonly hash?: 'sha1' | 'sha256';
  /** A key made before, instead of a new one. */
  readonly keyFile?: string;
}

/** Makes a certificate with openssl in a folder; signed by itself where nobody else is named. */
export function certify(folder: string, name: string, options: CertifyOptions = {}): Certified {
  const { by, extensions = by === undefined ? AUTHORITY : SIGNER, key = 'P-256', days = 2 } = options;
  const file = (suffix: string) => join(folder, `${name.replaceAll(' ', '-')}.${suffix}`);
  const keyFile = options.keyFile ?? file('key');
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  if (options.keyFile === undefined) {
    const kind =
      typeof key === 'number' ? ['RSA', `rsa_keygen_bits:${key}`] : ['EC', `ec_paramgen_curve:${key}`];
    openssl('genpkey', '-algorithm', kind[0] ?? '', '-pkeyopt', kind[1] ?? '', '-out', keyFile);
  }
  openssl('req', '-new', '-key', keyFile, '-subj', `/CN=${name}`, '-out', file('csr'));
  writeFileSync(file('ext'), `${extensions.join('\n')}\n`);
  openssl(
    ...['x509', '-req', '-in', file('csr'), '-out', file('pem'), `-${options.hash ?? 'sha256'}`],
    ...(by === undefined ? ['-signkey', keyFile] : ['-CA', by.certFile, '-CAkey', by.keyFile]),
    ...['-days', String(days), '-extfile', file('ext')],
  );
  const pem = readFileSync(file('pem'), 'utf8');
  const der = Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64');
  return { certFile: file('pem'), keyFile, pem, der };
}
