import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { SecretBuffer } from './secret-buffer.ts';

/** The initial value of RFC 3394 section 2.2.3.1; it comes back when nothing was changed. */
const INITIAL_VALUE = Buffer.alloc(8, 0xa6);

/** AES-256 key wrap, RFC 3394. The key must be n x 8 bytes long, n >= 2. */
export function wrapKey(wrappingKey: KeyObject, key: SecretBuffer): Uint8Array {
  if (key.length < 16 || key.length % 8 !== 0) {
    throw new CryptoError('crypto.wrap-invalid', `expected a key of n x 8 bytes, n >= 2, got ${key.length}`);
  }
  const cipher = createCipheriv('id-aes256-wrap', wrappingKey, INITIAL_VALUE);
  return key.use((bytes) => Buffer.concat([cipher.update(bytes), cipher.final()]));
}

/** The reverse; throws `crypto.integrity` when the wrapped bytes or the wrapping key are not the right ones. */
export function unwrapKey(wrappingKey: KeyObject, wrapped: Uint8Array): SecretBuffer {
  if (wrapped.length < 24 || wrapped.length % 8 !== 0) {
    throw new CryptoError('crypto.integrity', `expected a wrapped key, got ${wrapped.length} bytes`);
  }
  try {
    const decipher = createDecipheriv('id-aes256-wrap', wrappingKey, INITIAL_VALUE);
    const plain = decipher.update(wrapped);
    const rest = decipher.final();
    const secret = SecretBuffer.from(rest.length === 0 ? plain : Buffer.concat([plain, rest]));
    plain.fill(0);
    return secret;
  } catch (cause) {
    throw new CryptoError(
      'crypto.integrity',
      'wrapped key does not unwrap: it was changed or is another key’s',
      {
        cause,
      },
    );
  }
}
