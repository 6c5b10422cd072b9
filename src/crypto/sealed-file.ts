import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { canonicalJson, parseCanonicalJson } from './canonical-json.ts';
import { sha256Bytes } from './digest.ts';
import { CryptoError } from './errors.ts';
import { SecretBuffer } from './secret-buffer.ts';
import { parseWrapSet, type WrapSet } from './wrap-set.ts';

/** What a sealed file says of itself: readable by anyone, and changed by nobody who lacks its key. */
export interface SealedHeader {
  readonly v: 1;
  /** One purpose never stands in for another. */
  readonly purpose: 'data' | 'checkpoint';
  /** Canonical JSON; what the content is bound to. */
  readonly context: Readonly<Record<string, unknown>>;
  readonly wraps: WrapSet;
}

/** `AGSF`, version 1. */
const MAGIC = Buffer.from([0x41, 0x47, 0x53, 0x46, 1, 0, 0, 0]);
const MAX_HEADER_BYTES = 65_536;
const SALT_BYTES = 32;
const TAG_BYTES = 16;
/** Plaintext of every chunk but the last. */
export const SEALED_CHUNK_BYTES = 65_536;
const INFO = 'ai-guardian sealed file 1';

/** Whether a file begins as a sealed one; 4 bytes are enough to tell. */
export function isSealedFile(head: Uint8Array): boolean {
  return head.length >= 4 && MAGIC.subarray(0, 4).equals(head.subarray(0, 4));
}

/**
 * Seals a stream: magic, length of the header (uint32, big endian), header, salt (32), chunks of 65,536 bytes with a tag
 * each (AES-256-GCM). The STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): the nonce is the number of
 * the chunk and whether it is the last, so chunks cannot be exchanged, left out or cut off. The key is drawn from the data
 * key, the salt and all that stands before the chunks (HKDF-SHA256), so no two files share one and the header is bound.
 */
export async function* sealStream(
  header: SealedHeader,
  dataKey: SecretBuffer,
  plaintext: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const json = Buffer.from(canonicalJson(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  const head = Buffer.concat([MAGIC, length, json, randomBytes(SALT_BYTES)]);
  const key = fileKey(dataKey, head);
  const buffer = Buffer.alloc(SEALED_CHUNK_BYTES);
  let filled = 0;
  let index = 0;
  const sealChunk = (isLast: boolean): Uint8Array => {
    const nonce = nonceOf(index++, isLast);
    const cipher = key.use((k) => createCipheriv('aes-256-gcm', k, nonce, { authTagLength: TAG_BYTES }));
    const body = cipher.update(buffer.subarray(0, filled));
    filled = 0;
    return Buffer.concat([body, cipher.final(), cipher.getAuthTag()]);
  };
  try {
    yield head;
    for await (const piece of plaintext) {
      for (let at = 0; at < piece.length; ) {
        // A full chunk waits until it is known whether another one comes.
        if (filled === SEALED_CHUNK_BYTES) yield sealChunk(false);
        const taken = Math.min(SEALED_CHUNK_BYTES - filled, piece.length - at);
        buffer.set(piece.subarray(at, at + taken), filled);
        filled += taken;
        at += taken;
      }
    }
    yield sealChunk(true);
  } finally {
    key.wipe();
    buffer.fill(0);
  }
}

/** A sealed file whose header was read; nothing of it is authentic before its content was opened. */
export interface SealedFile {
  readonly header: SealedHeader;
  /** The content. Read once; the key may be wiped as soon as this returns. */
  open(dataKey: SecretBuffer): SealedContent;
}

/**
 * What a sealed file holds, each chunk authentic when it comes; the whole is when the iteration ends without an error.
 * Throws `crypto.integrity`. Chunks are held until they are wiped: readers look ahead and behind.
 */
export interface SealedContent extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  /** Overwrites every chunk that was given out with zeros; for when the reading has ended. */
  wipe(): void;
}

/** Reads the header of a sealed file. Throws `crypto.integrity`. */
export async function readSealedFile(bytes: AsyncIterable<Uint8Array>): Promise<SealedFile> {
  const reader = new Reader(bytes);
  const fixed = await reader.take(MAGIC.length + 4);
  if (fixed.length < MAGIC.length + 4 || !fixed.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new CryptoError(
      'crypto.integrity',
      'expected a sealed file of version 1, got other or fewer bytes',
    );
  }
  const length = fixed.readUInt32BE(MAGIC.length);
  if (length > MAX_HEADER_BYTES) throw changed('its header is too long');
  const rest = await reader.take(length + SALT_BYTES);
  if (rest.length < length + SALT_BYTES) throw changed('it ends within its header');
  const header = parseHeader(rest.subarray(0, length));
  const head = Buffer.concat([fixed, rest]);
  return {
    header,
    open: (dataKey) => {
      const key = fileKey(dataKey, head);
      const given: Uint8Array[] = [];
      return {
        [Symbol.asyncIterator]: () => openChunks(reader, { key, given }),
        wipe: () => {
          for (const chunk of given) chunk.fill(0);
        },
      };
    },
  };
}

async function* openChunks(
  reader: Reader,
  { key, given }: { readonly key: SecretBuffer; readonly given: Uint8Array[] },
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    for (let index = 0, isLast = false; !isLast; index++) {
      const sealed = await reader.take(SEALED_CHUNK_BYTES + TAG_BYTES);
      isLast = await reader.isAtEnd();
      const chunk = openChunk(key, sealed, nonceOf(index, isLast));
      given.push(chunk);
      if (chunk.length > 0) yield chunk;
    }
  } finally {
    key.wipe();
    await reader.close();
  }
}

function openChunk(key: SecretBuffer, sealed: Buffer, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
  if (sealed.length < TAG_BYTES) throw changed('it is cut off');
  const end = sealed.length - TAG_BYTES;
  const decipher = key.use((k) => createDecipheriv('aes-256-gcm', k, nonce, { authTagLength: TAG_BYTES }));
  decipher.setAuthTag(sealed.subarray(end));
  // Not from the shared pool, so that wiping it wipes all there is.
  const plain = new Uint8Array(end);
  const update = decipher.update(sealed.subarray(0, end));
  plain.set(update);
  update.fill(0);
  try {
    decipher.final();
    return plain;
  } catch (cause) {
    plain.fill(0);
    throw new CryptoError(
      'crypto.integrity',
      'a sealed file does not open: it, its key or its context was changed, or it is cut off',
      { cause },
    );
  }
}

function parseHeader(json: Uint8Array): SealedHeader {
  let value: unknown;
  try {
    value = parseCanonicalJson(Buffer.from(json).toString('utf8'));
  } catch (cause) {
    throw new CryptoError('crypto.integrity', 'the header of a sealed file does not parse', { cause });
  }
  const { v, purpose, context, wraps } = (value ?? {}) as Record<string, unknown>;
  if (v !== 1 || (purpose !== 'data' && purpose !== 'checkpoint') || typeof context !== 'object') {
    throw changed('its header is of another shape');
  }
  return {
    ...{ v, purpose },
    context: context as Record<string, unknown>,
    wraps: parseWrapSet(JSON.stringify(wraps)),
  };
}

function fileKey(dataKey: SecretBuffer, head: Uint8Array): SecretBuffer {
  const salt = head.subarray(head.length - SALT_BYTES);
  const info = Buffer.concat([Buffer.from(INFO), sha256Bytes(head)]);
  return dataKey.use((key) => SecretBuffer.from(new Uint8Array(hkdfSync('sha256', key, salt, info, 32))));
}

/** Seven zero bytes, the number of the chunk, 1 for the last: a key serves one file alone. */
function nonceOf(index: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(index, 7);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function changed(how: string): CryptoError {
  return new CryptoError('crypto.integrity', `a sealed file was changed: ${how}`);
}

/** Takes exact lengths from a stream of pieces. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #isDone = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Fewer bytes only at the end. */
  async take(length: number): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    let taken = 0;
    while (taken < length && !(await this.isAtEnd())) {
      const piece = this.#rest.subarray(0, length - taken);
      this.#rest = this.#rest.subarray(piece.length);
      pieces.push(piece);
      taken += piece.length;
    }
    return Buffer.concat(pieces);
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#rest.length === 0 && !this.#isDone) {
      const next = await this.#source.next();
      if (next.done === true) this.#isDone = true;
      else this.#rest = next.value;
    }
    return this.#rest.length === 0;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
