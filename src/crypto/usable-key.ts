import { CryptoError } from './errors.ts';
import type { KeyInfo, KeyState } from './key-store.ts';

/** Throws `crypto.key-missing` where there is no such key, `crypto.key-refused` where its state does not allow the use. */
export function expectUsable(info: KeyInfo | undefined, id: string, states: readonly KeyState[]): void {
  if (info === undefined) throw new CryptoError('crypto.key-missing', `no key ${id} in this store`);
  if (states.includes(info.state)) return;
  throw new CryptoError(
    'crypto.key-refused',
    `expected a key that is ${states.join(' or ')}, ${id} is ${info.state}`,
  );
}

export function refusedFor(id: string, verb: string): CryptoError {
  return new CryptoError(
    'crypto.key-refused',
    `expected a key that may ${verb}, ${id} is for another purpose`,
  );
}
