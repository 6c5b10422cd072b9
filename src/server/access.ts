import { audited } from '../audit/index.ts';
import { writeFileAtomic } from '../base/index.ts';
import { type AccessKeyRow, stateLayout } from '../storage/index.ts';
import { createAccessKey, type NewAccessKey } from './access-key.ts';
import { ServerError } from './errors.ts';
import type { Handlers, ServedGuardian } from './handler.ts';
import { ROLES, type Role } from './roles.ts';

const DAY_MS = 86_400_000;

export const accessHandlers = {
  'GET /v1/access': async ({ guardian }) => ({
    keys: (await guardian.database.accessKeys.listAccessKeys()).map(shownKey),
  }),
  'POST /v1/access': async ({ guardian, body, caller }) => {
    const key = createAccessKey();
    await addKey(guardian, key, {
      label: body.label,
      roles: [...new Set(body.roles)],
      expiresAt: Math.trunc(guardian.clock.now() + body.days * DAY_MS),
      by: caller.principal,
    });
    return { id: key.id, key: key.text };
  },
  'DELETE /v1/access/:id': async ({ guardian, path, caller }) => {
    const found = await guardian.database.accessKeys.findAccessKey(path.id);
    if (found === undefined)
      throw new ServerError('server.access-unknown', `no API key has the id ${path.id}`);
    const detail = { label: found.principal };
    await audited(
      guardian.log,
      { action: 'access.revoke', principal: caller.principal, subject: path.id, detail },
      () => guardian.database.accessKeys.revokeAccessKey(path.id, guardian.clock.now()),
    );
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
  if (standing.some(({ roles }) => roles.includes('admin'))) return undefined;
  const key = createAccessKey();
  const file = stateLayout(guardian.stateFolder).adminKey;
  await writeFileAtomic(file, `${key.text}\n`, 0o600);
  await addKey(guardian, key, { label: 'admin', roles: ROLES, by: 'guardian' });
  return file;
}

async function addKey(
  guardian: ServedGuardian,
  key: NewAccessKey,
  options: {
    readonly label: string;
    readonly roles: readonly Role[];
    readonly expiresAt?: number;
    readonly by: string;
  },
): Promise<void> {
  const { label, roles, expiresAt, by } = options;
  const expires = expiresAt === undefined ? {} : { expiresAt };
  await audited(
    guardian.log,
    { action: 'access.add', principal: by, subject: key.id, detail: { label, roles, ...expires } },
    () =>
      guardian.database.accessKeys.addAccessKey({
        id: key.id,
        sha256: key.sha256,
        principal: label,
        roles,
        createdAt: guardian.clock.now(),
        ...expires,
      }),
  );
}

function shownKey({ id, principal, roles, createdAt, expiresAt, revokedAt }: AccessKeyRow) {
  return {
    id,
    label: principal,
    roles,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    revoked: revokedAt !== undefined,
  };
}
