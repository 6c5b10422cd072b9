import { createHash, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../base/index.ts';
import type { AccessKeyRow, Database } from '../storage/index.ts';
import { ServerError } from './errors.ts';
import { type Caller, isRole } from './roles.ts';

/** A machine's certificate, from an authority that the configuration names. */
export interface MachineCertificate {
  /** Common name, else the first alternative name; absent where neither is plain text. */
  readonly name?: string;
  /** SHA-256 of the DER bytes, lowercase hexadecimal. */
  readonly fingerprint: string;
}

/** Names that roles can be given to: what a DNS, mail or SPIFFE name is made of. */
export const CERTIFICATE_NAME = /^[\p{L}\p{N}*][\p{L}\p{N} ._@*:/-]{0,127}$/u;
const FINGERPRINT_NAME = /^sha256:/i;

/** Who a name or a fingerprint is in the audit log and in the table of access. */
export function certificatePrincipal(
  by: { readonly name: string } | { readonly fingerprint: string },
): string {
  return 'name' in by ? `cert:${by.name}` : `cert:sha256:${by.fingerprint}`;
}

/** Whether a row of the table of access gives roles to a certificate: labels of keys hold no colon. */
export function isCertificateRow({ principal }: AccessKeyRow): boolean {
  return principal.startsWith('cert:');
}

/**
 * The certificate that the peer of a connection showed; undefined where it showed none. Throws
 * `server.certificate-wrong` for one that the configured authority did not issue, or that is out of its time.
 */
export function peerCertificate(socket: Socket, clock: Clock): MachineCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  // `authorized` alone says too much: it is true, too, where no certificate was asked for.
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  if (!socket.authorized) {
    throw new ServerError(
      'server.certificate-wrong',
      `the client certificate is not accepted: ${String(socket.authorizationError).slice(0, 100)}`,
    );
  }
  // The handshake looked once; a connection may stay open for longer than the certificate is good.
  if (certificate.validToDate.getTime() <= clock.now()) {
    throw new ServerError('server.certificate-wrong', 'the client certificate has expired');
  }
  return readCertificate(certificate);
}

/** Name and fingerprint of a certificate that was verified. */
export function readCertificate(certificate: X509Certificate): MachineCertificate {
  const name = [commonName(certificate), alternativeName(certificate)].find(
    (each) => each !== undefined && CERTIFICATE_NAME.test(each) && !FINGERPRINT_NAME.test(each),
  );
  const fingerprint = createHash('sha256').update(certificate.raw).digest('hex');
  return { fingerprint, ...(name !== undefined && { name }) };
}

/** The caller; without any role where nobody gave the certificate one. */
export async function certificateCaller(
  certificate: MachineCertificate,
  keys: Pick<Database['accessKeys'], 'findAccessKeysOf'>,
  clock: Clock,
): Promise<Caller> {
  const { name, fingerprint } = certificate;
  const own = await keys.findAccessKeysOf(certificatePrincipal({ fingerprint }));
  const named = name === undefined ? [] : await keys.findAccessKeysOf(certificatePrincipal({ name }));
  const isGood = (row: AccessKeyRow) =>
    row.revokedAt === undefined && (row.expiresAt === undefined || row.expiresAt > clock.now());
  // One that was revoked by its fingerprint gets nothing by its name.
  const isRevoked = !own.some(isGood) && own.some(({ revokedAt }) => revokedAt !== undefined);
  const rows = isRevoked ? [] : [...own, ...named].filter(isGood);
  return {
    principal: certificatePrincipal(name === undefined ? { fingerprint } : { name }),
    method: 'certificate',
    roles: [...new Set(rows.flatMap(({ roles }) => roles.filter(isRole)))],
  };
}

function commonName(certificate: X509Certificate): string | undefined {
  const name: unknown = certificate.toLegacyObject().subject?.CN;
  // Several common names come as a list: none of them is the name.
  return typeof name === 'string' ? name : undefined;
}

/** Text with quotes holds names that were made to look like several. */
function alternativeName({ subjectAltName }: X509Certificate): string | undefined {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return undefined;
  return /^(?:DNS|email|URI):([^,]+)/.exec(subjectAltName)?.[1];
}
