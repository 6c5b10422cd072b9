import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { sha256Hex } from './digest.ts';
import { ML_DSA_SEED_BYTES, mlDsaKey, publicKeyOfPoint } from './key-encodings.ts';
import { type KeyInfo, type KeyPurpose, PURPOSE_ALGORITHMS } from './key-store.ts';
import type { OpenedToken } from './pkcs11-record.ts';
import type { TokenKey } from './pkcs11-state.ts';
import type { Handle, Session } from './pkcs11-token.ts';
import { SecretBuffer } from './secret-buffer.ts';

/** Makes a key in the token, not extractable; that of ML-DSA is a seed wrapped by the token's seal. `handles`: the objects made. */
export async function makeTokenKey(
  { token, objects, labels, clock }: OpenedToken,
  session: Session,
  purpose: KeyPurpose,
): Promise<{ readonly key: TokenKey; readonly handles: readonly Handle[] }> {
  const algorithm = PURPOSE_ALGORITHMS[purpose];
  const base = {
    purpose,
    algorithm,
    createdAt: new Date(clock.now()).toISOString(),
    state: 'active',
  } as const;
  const label = labels.key(purpose);
  if (algorithm === 'aes-256') {
    const { objectId, handles } = await objects.makeSecret(session, 'wrap', label);
    return { key: { info: { id: `${purpose}-${objectId.slice(0, 16)}`, ...base }, objectId }, handles };
  }
  if (algorithm === 'ml-dsa-65') {
    const seed = SecretBuffer.random(ML_DSA_SEED_BYTES);
    try {
      const seal = session.object(token.module.library.CKO_SECRET_KEY, labels.seal);
      const sealed = Buffer.from(await objects.wrap(session, seal, seed)).toString('base64');
      const info = signingInfo(createPublicKey(seed.use(mlDsaKey)), base);
      return { key: { info, objectId: randomBytes(16).toString('hex'), sealed }, handles: [] };
    } finally {
      seed.wipe();
    }
  }
  const { objectId, handles, point } = await objects.makePair(session, algorithm, label);
  return { key: { info: signingInfo(publicKeyOfPoint(algorithm, point), base), objectId }, handles };
}

function signingInfo(publicKey: KeyObject, base: Omit<KeyInfo, 'id' | 'publicKeyPem'>): KeyInfo {
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const publicKeyPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
  return { id: `${base.purpose}-${sha256Hex(spki).slice(0, 16)}`, ...base, publicKeyPem };
}
