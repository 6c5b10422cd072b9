import { hash } from 'node:crypto';
import type { Digest } from '../base/index.ts';

const PATTERN = /^sha256:[0-9a-f]{64}$/;

/** SHA-256 as 64 lowercase hexadecimal digits. A string is hashed as UTF-8. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}

/** SHA-256 as 32 bytes, owned by the caller. A string is hashed as UTF-8. */
export function sha256Bytes(bytes: Uint8Array | string): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

/** SHA-256 as the product names content: `sha256:<hex>`. */
export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${sha256Hex(bytes)}`;
}

/** Whether a text is `sha256:` and 64 lowercase hexadecimal digits. */
export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}
