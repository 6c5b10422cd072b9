import { createPublicKey } from 'node:crypto';
import {
  Key,
  type Metadata,
  type Root,
  Signature,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@tufjs/models';
import { type KeyInfo, type KeyPurpose, type KeyStore, sha256Hex } from '../../crypto/index.ts';

/** A key as TUF names it, and a way to sign with it wherever it lies. */
export interface UpdateSigner {
  readonly key: Key;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/**
 * Who signs which role. The root lists two keys with a threshold of one, so that either can be rotated while the
 * other carries the chain over: a rotated key does not sign, not even its successor. What models are offered is said by
 * the key that signs models. Freshness (snapshot, timestamp) is said by the key that signs checkpoints of the log: it
 * is online anyway, and renewing a timestamp fills no log.
 */
export const ROLE_PURPOSES = {
  root: ['model-signing', 'evaluator-signing'],
  targets: ['model-signing'],
  snapshot: ['log-signing'],
  timestamp: ['log-signing'],
} as const satisfies Record<string, readonly KeyPurpose[]>;

export type UpdateRole = keyof typeof ROLE_PURPOSES;
export type UpdateSigners = Readonly<Record<UpdateRole, readonly UpdateSigner[]>>;
export type AnyMetadata = Metadata<Root> | Metadata<Targets> | Metadata<Snapshot> | Metadata<Timestamp>;

/** The active keys of each role. Throws `crypto.key-missing`. */
export async function updateSigners(keys: KeyStore): Promise<UpdateSigners> {
  const signers = (role: UpdateRole) =>
    Promise.all(ROLE_PURPOSES[role].map(async (purpose) => toSigner(keys, await keys.active(purpose))));
  return {
    root: await signers('root'),
    targets: await signers('targets'),
    snapshot: await signers('snapshot'),
    timestamp: await signers('timestamp'),
  };
}

/** A public key in TUF's form. ECDSA signatures are DER over SHA-256, Ed25519 ones are raw: as key stores give them. */
export function updateKey(info: Pick<KeyInfo, 'algorithm' | 'publicKeyPem'>): Key {
  const pem = info.publicKeyPem ?? '';
  if (info.algorithm === 'ed25519') {
    const { x = '' } = createPublicKey(pem).export({ format: 'jwk' });
    return namedKey('ed25519', 'ed25519', Buffer.from(x, 'base64url').toString('hex'));
  }
  return namedKey('ecdsa', 'ecdsa-sha2-nistp256', pem);
}

/** Replaces every signature. The library signs synchronously, so it only hands over the bytes here. */
export async function signMetadata(
  metadata: AnyMetadata,
  signers: readonly UpdateSigner[],
): Promise<Uint8Array> {
  let message = Buffer.alloc(0);
  metadata.sign((bytes) => {
    message = Buffer.from(bytes);
    return new Signature({ keyID: '', sig: '' });
  }, false);
  const signatures: Record<string, Signature> = {};
  for (const { key, sign } of signers) {
    const sig = Buffer.from(await sign(message)).toString('hex');
    signatures[key.keyID] = new Signature({ keyID: key.keyID, sig });
  }
  metadata.signatures = signatures;
  return Buffer.from(`${JSON.stringify(metadata.toJSON(), null, 1)}\n`);
}

function toSigner(keys: KeyStore, info: KeyInfo): UpdateSigner {
  return { key: updateKey(info), sign: (message) => keys.sign(info.id, message) };
}

/** The id is the SHA-256 of the key's canonical JSON, in which line breaks stand as they are. */
function namedKey(keyType: string, scheme: string, value: string): Key {
  const canonical = `{"keytype":"${keyType}","keyval":{"public":"${value}"},"scheme":"${scheme}"}`;
  return new Key({ keyID: sha256Hex(canonical), keyType, scheme, keyVal: { public: value } });
}
