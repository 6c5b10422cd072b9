import { type KeyInfo, type KeyPurpose, type KeyStore, type SecretBuffer, sha256 } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';
import { audited } from './audited.ts';

export interface AuditedKeyStoreOptions {
  /** Who is said to use the keys. */
  readonly principal: string;
}

/**
 * A key store whose every use of a key stands in the log, intent before use. Signing with a log key is counted and
 * not logged: it is how checkpoints are made, and logging it would never end. So is what a member of a secure training says,
 * thousands of times a run: that it takes part stands in the log before the first of them.
 */
export function auditedKeyStore(
  store: KeyStore,
  log: AuditLog,
  options: AuditedKeyStoreOptions = { principal: 'system' },
): AuditedKeyStore {
  return new AuditedKeyStore(store, log, options.principal);
}

export class AuditedKeyStore implements KeyStore {
  readonly #store: KeyStore;
  readonly #log: AuditLog;
  readonly #principal: string;
  #logSignatures = 0;
  #memberSignatures = 0;

  constructor(store: KeyStore, log: AuditLog, principal: string) {
    this.#store = store;
    this.#log = log;
    this.#principal = principal;
  }

  get kind(): string {
    return this.#store.kind;
  }

  /** Signatures made with log keys through this store. */
  get logSignatures(): number {
    return this.#logSignatures;
  }

  /** Signatures made as a member of secure trainings through this store. */
  get memberSignatures(): number {
    return this.#memberSignatures;
  }

  list(): Promise<readonly KeyInfo[]> {
    return this.#store.list();
  }

  active(purpose: KeyPurpose): Promise<KeyInfo> {
    return this.#store.active(purpose);
  }

  find(id: string): Promise<KeyInfo | undefined> {
    return this.#store.find(id);
  }

  generate(purpose: KeyPurpose): Promise<KeyInfo> {
    return this.#audited('key.generate', purpose, {}, () => this.#store.generate(purpose));
  }

  retire(id: string): Promise<KeyInfo> {
    return this.#audited('key.retire', id, {}, () => this.#store.retire(id));
  }

  revoke(id: string): Promise<KeyInfo> {
    return this.#audited('key.disable', id, {}, () => this.#store.revoke(id));
  }

  async sign(keyId: string, message: Uint8Array): Promise<Uint8Array> {
    const purpose = (await this.#store.find(keyId))?.purpose;
    if (purpose === 'log-signing' || purpose === 'member-signing') {
      if (purpose === 'log-signing') this.#logSignatures++;
      else this.#memberSignatures++;
      return this.#store.sign(keyId, message);
    }
    return this.#audited('key.sign', keyId, { message: sha256(message) }, () =>
      this.#store.sign(keyId, message),
    );
  }

  wrap(keyId: string, key: SecretBuffer): Promise<Uint8Array> {
    return this.#audited('key.wrap', keyId, {}, () => this.#store.wrap(keyId, key));
  }

  unwrap(keyId: string, wrapped: Uint8Array): Promise<SecretBuffer> {
    return this.#audited('key.unwrap', keyId, { wrapped: sha256(wrapped) }, () =>
      this.#store.unwrap(keyId, wrapped),
    );
  }

  /** Closes the store beneath; the log stays its owner's. */
  close(): Promise<void> {
    return this.#store.close();
  }

  #audited<T>(
    action: string,
    subject: string,
    detail: Record<string, unknown>,
    work: () => Promise<T>,
  ): Promise<T> {
    return audited(this.#log, { action, principal: this.#principal, subject, detail }, work);
  }
}
