import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { audited } from '../audit/index.ts';
import { writeFileAtomic } from '../base/index.ts';
import { sha256Hex } from '../crypto/index.ts';
import { type AccessKeyRow, stateLayout } from '../storage/index.ts';
import { authenticate, createAccessKey } from './access-key.ts';
import { knownKeys } from './access-key-cache.ts';
import { certificatePrincipal, isCertificateRow } from './client-certificate.ts';
import { ServerError } from './errors.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import { ROLES, type Role } from './roles.ts';

const DAY_MS = 86_400_000;

export const accessHandlers = {
  'GET /v1/access': async ({ guardian }) => {
    const rows = await guardian.database.accessKeys.listAccessKeys();
    return {
      keys: rows
        .filter((row) => !isCertificateRow(row))
        .map((row) => ({ id: row.id, label: row.principal, ...shownGrant(row) })),
      certificates: rows
        .filter(isCertificateRow)
        .map((row) => ({ id: row.id, certificate: certificateOf(row), ...shownGrant(row) })),
    };
  },
  'POST /v1/access/certificates': async ({ guardian, body, caller }) => {
    const id = randomBytes(8).toString('hex');
    const principal = certificatePrincipal(body.certificate);
    await addRow(guardian, {
      // No key has this digest: the text of a key begins otherwise.
      row: { id, sha256: sha256Hex(principal), principal },
      roles: [...new Set(body.roles)],
      expiresAt: Math.trunc(guardian.clock.now() + body.days * DAY_MS),
      by: caller.principal,
    });
    return { id, certificate: certificateOf({ principal }) };
  },
  'POST /v1/access': async ({ guardian, body, caller }) => {
    const key = createAccessKey();
    await addRow(guardian, {
      row: { id: key.id, sha256: key.sha256, principal: body.label },
      roles: [...new Set(body.roles)],
      expiresAt: Math.trunc(guardian.clock.now() + body.days * DAY_MS),
      by: caller.principal,
    });
    return { id: key.id, key: key.text };
  },
  'DELETE /v1/access/:id': async ({ guardian, path, caller }) => {
    const found = await guardian.database.accessKeys.findAccessKey(path.id);
    if (found === undefined)
      throw new ServerError('server.access-unknown', `no API key and no certificate has the id ${path.id}`);
    const detail = { label: found.principal };
    await audited(
      guardian.log,
      { action: 'access.revoke', principal: caller.principal, subject: path.id, detail },
      () => guardian.database.accessKeys.revokeAccessKey(path.id, guardian.clock.now()),
    );
    knownKeys(guardian.database.accessKeys, guardian.clock).forget(path.id);
    return { id: path.id, revoked: true };
  },
} satisfies Partial<Handlers>;

/**
 * Makes the first admin key where there was none before, and writes it to `admin.key` (0600). Gives back the
 * file's path where one was made. The file comes first: a key that was lost half way is simply made again. One
 * that was revoked is not replaced.
 */
export async function ensureAdminKey(guardian: ServedGuardian): Promise<string | undefined> {
  const standing = await guardian.database.accessKeys.listAccessKeys();
  if (standing.some((row) => row.roles.includes('admin') && !isCertificateRow(row))) return undefined;
  const key = createAccessKey();
  const file = stateLayout(guardian.stateFolder).adminKey;
  await writeFileAtomic(file, `${key.text}\n`, 0o600);
  const row = { id: key.id, sha256: key.sha256, principal: 'admin' };
  await addRow(guardian, { row, roles: ROLES, by: 'guardian' });
  return file;
}

/** Path of the file with the first admin key, where it is there and its key still opens the door. */
export async function findAdminKeyFile(guardian: ServedGuardian): Promise<string | undefined> {
  const file = stateLayout(guardian.stateFolder).adminKey;
  try {
    const text = (await readFile(file, 'utf8')).trim();
    const { roles } = await authenticate(`Bearer ${text}`, guardian.database.accessKeys, guardian.clock);
    return roles.length > 0 ? file : undefined;
  } catch {
    // Removed, as it may be once it is kept elsewhere; or revoked, or not a key at all.
    return undefined;
  }
}

async function addRow(
  guardian: ServedGuardian,
  options: {
    readonly row: Pick<AccessKeyRow, 'id' | 'sha256' | 'principal'>;
    readonly roles: readonly Role[];
    readonly expiresAt?: number;
    readonly by: string;
  },
): Promise<void> {
  const { row, roles, expiresAt, by } = options;
  const expires = expiresAt === undefined ? {} : { expiresAt };
  const detail = { label: row.principal, roles, ...expires };
  await audited(guardian.log, { action: 'access.add', principal: by, subject: row.id, detail }, () =>
    guardian.database.accessKeys.addAccessKey({
      ...row,
      roles,
      createdAt: guardian.clock.now(),
      ...expires,
    }),
  );
}

function shownGrant({ roles, createdAt, expiresAt, revokedAt }: AccessKeyRow) {
  return {
    roles,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    revoked: revokedAt !== undefined,
  };
}

function certificateOf({ principal }: Pick<AccessKeyRow, 'principal'>): string {
  return principal.slice('cert:'.length);
}
