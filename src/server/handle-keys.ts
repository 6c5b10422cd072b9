import type { KeyInfo } from '../crypto/index.ts';
import type { Handlers } from './handler.ts';

export const keyHandlers = {
  'GET /v1/keys': async ({ guardian }) => ({
    kind: guardian.keys.kind,
    keys: (await guardian.keys.list()).map(publicPart),
  }),
  'POST /v1/keys/rotate': async ({ guardian, body, caller }) => {
    const { purpose, resume } = body;
    const { key, ...rotation } = await guardian.registry.rotateKey(purpose, caller, { resume });
    return { ...rotation, key: publicPart(key) };
  },
  'POST /v1/keys/:id/revoke': async ({ guardian, path, body, caller }) => {
    const from = body.from === undefined ? {} : { from: body.from };
    const revoked = await guardian.registry.revokeKey(path.id, caller, from);
    guardian.engine.withdrawCertificates(revoked.id);
    return publicPart(revoked);
  },
} satisfies Partial<Handlers>;

/** Named field by field: whatever a store's record holds besides stays here. */
function publicPart({ id, purpose, algorithm, createdAt, state, publicKeyPem }: KeyInfo): KeyInfo {
  return { id, purpose, algorithm, createdAt, state, ...(publicKeyPem !== undefined && { publicKeyPem }) };
}
