import { constants as sslConstants, X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

import type { Clock } from '../base/index.ts';
import type { ServerConfig } from '../configuration.ts';
import { ServerError } from './errors.ts';

/** What a TLS server is built from. */
export interface TlsSetup extends SecureContextOptions {
  /** Whether clients are asked for a certificate. */
  readonly requestCert: boolean;
}

const MAX_FILE_BYTES = 256 * 1024;

/** Of TLS 1.2, what has forward secrecy and AEAD. TLS 1.3 has nothing else. */
const CIPHERS_12 = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
];
const CIPHERS_13 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];

/**
 * Reads and checks the files of `server.tls`; undefined where none are configured. Throws `server.tls-invalid`: a
 * file missing, a key that others may read or that is not the certificate's, a certificate outside its time.
 */
export async function readTls(config: ServerConfig['tls'], clock: Clock): Promise<TlsSetup | undefined> {
  const { certFile, keyFile, clientCaFile, minVersion } = config;
  if (certFile === null || keyFile === null) return undefined;
  const cert = await readPem(certFile, 'server.tls.certFile');
  const key = await readPem(keyFile, 'server.tls.keyFile', { isSecret: true });
  const ca = clientCaFile === null ? undefined : await readPem(clientCaFile, 'server.tls.clientCaFile');
  const setup: TlsSetup = {
    cert,
    key,
    ...(ca !== undefined && { ca }),
    minVersion,
    ciphers: [...CIPHERS_13, ...(minVersion === 'TLSv1.2' ? CIPHERS_12 : [])].join(':'),
    honorCipherOrder: true,
    // A resumed session is not asked for its certificate again: it would outlive the certificate and its authority.
    secureOptions: sslConstants.SSL_OP_NO_TICKET | sslConstants.SSL_OP_NO_RENEGOTIATION,
    requestCert: ca !== undefined,
  };
  try {
    createSecureContext(setup);
    checkTime(cert, certFile, clock);
    if (ca !== undefined) new X509Certificate(ca);
  } catch (error) {
    if (error instanceof ServerError) throw error;
    throw invalid(`expected a certificate and its own private key in ${certFile} and ${keyFile}`, error);
  }
  return setup;
}

/** The file's text. What protects everything must be a plain file of its owner, that nobody else may read. */
async function readPem(path: string, field: string, options: { isSecret?: boolean } = {}): Promise<string> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw invalid(`cannot read ${field} ${path}`, cause);
  }
  try {
    const about = await file.stat();
    if (!about.isFile()) throw invalid(`${field} ${path} is not a plain file`);
    if (about.size > MAX_FILE_BYTES) throw invalid(`${field} ${path} is longer than ${MAX_FILE_BYTES} bytes`);
    if (options.isSecret === true) {
      const mode = about.mode & 0o777;
      if ((mode & 0o077) !== 0) {
        throw invalid(
          `${field} ${path} has mode 0${mode.toString(8)}, expected 0600: others may read the key`,
        );
      }
      const user = process.getuid?.();
      if (user !== undefined && about.uid !== user && about.uid !== 0) {
        throw invalid(`${field} ${path} belongs to another user`);
      }
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function checkTime(cert: string, path: string, clock: Clock): void {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  const now = clock.now();
  if (now >= validToDate.getTime())
    throw invalid(`the certificate ${path} expired at ${validToDate.toISOString()}`);
  if (now < validFromDate.getTime()) {
    throw invalid(`the certificate ${path} is not valid before ${validFromDate.toISOString()}`);
  }
}

function invalid(message: string, cause?: unknown): ServerError {
  return new ServerError('server.tls-invalid', message, cause === undefined ? {} : { cause });
}
