export { canonicalJson, parseCanonicalJson } from './canonical-json.ts';
export { DataFile, type DataKeyOpener } from './data-file.ts';
export { isDigest, sha256, sha256Bytes, sha256Hex } from './digest.ts';
export { open, type SealedBlobParts, seal } from './envelope.ts';
export { CRYPTO_ERRORS, CryptoError, type CryptoErrorCode, isKeysAway } from './errors.ts';
export {
  createFileKeyStore,
  FileKeyStore,
  type FileKeyStoreOptions,
  openFileKeyStore,
} from './file-key-store.ts';
export {
  INITIAL_PURPOSES,
  KEY_PURPOSES,
  type KeyAlgorithm,
  type KeyInfo,
  type KeyPurpose,
  type KeyState,
  type KeyStore,
} from './key-store.ts';
export { unwrapKey, wrapKey } from './key-wrap.ts';
export { type OpenKeyStoreOptions, openKeyStore } from './open-key-store.ts';
export { DEFAULT_PIN_POLICY, type PinPolicy } from './pin-guard.ts';
export {
  createPkcs11KeyStore,
  openPkcs11KeyStore,
  Pkcs11KeyStore,
} from './pkcs11-key-store.ts';
export { SOFTHSM_PATHS } from './pkcs11-module.ts';
export type { Pkcs11KeyStoreOptions } from './pkcs11-record.ts';
export { isPkcs11Uri, type Pkcs11Uri, parsePkcs11Uri } from './pkcs11-uri.ts';
export {
  isSealedFile,
  readSealedFile,
  type SealedContent,
  type SealedFile,
  type SealedHeader,
  sealStream,
} from './sealed-file.ts';
export { isSecretMemoryLocked, SecretBuffer } from './secret-buffer.ts';
export { dssePreAuthEncoding, verifySignature } from './signatures.ts';
export { ensureSoftHsmToken, type SoftHsmTokenOptions } from './softhsm-token.ts';
export {
  DEFAULT_PASSPHRASE_COST,
  ensureUnlockFile,
  type PassphraseCost,
  type UnlockSecret,
} from './unlock-secret.ts';
export {
  addRecoveryWrap,
  type KeyWrap,
  parseWrapSet,
  unwrapFromRecovery,
  unwrapFromStore,
  type WrapSet,
  wrapForStore,
} from './wrap-set.ts';
