import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { SecretBuffer } from '../crypto/index.ts';
import { BusError } from './errors.ts';

/** What is sealed. Each has keys of its own, so that one never opens as another. */
export const SEALED_KINDS = ['message', 'request', 'answer', 'failure', 'value', 'object'] as const;
export type SealedKind = (typeof SEALED_KINDS)[number];

/**
 * A frame: version, kind, 16 bytes of salt, 6 of counter (big endian), ciphertext, 16 bytes of tag. AES-256-GCM; the key is
 * HKDF-SHA-256 of the bus's key under the salt, for the kind; the nonce is the counter. Associated data: version, kind, name,
 * and, of an answer, what tells its request.
 *
 * A salt is drawn by each process and again after 2^32 frames of a kind, so a pair of key and nonce comes twice only if two
 * salts of 128 bits agree; no key seals more than 2^32 frames.
 */
const VERSION = 1;
const SALT = 16;
const COUNTER = 6;
const HEADER = 2 + SALT + COUNTER;
const TAG = 16;
const KEY_BYTES = 32;
export const SEAL_OVERHEAD = HEADER + TAG;
const MAX_FRAMES = 2 ** 32;
/** Keys of other processes that are kept at hand. Deriving one takes some ten microseconds. */
const KEPT_KEYS = 1_024;

/** The salt and counter of a frame: no other frame under the bus's key has them. */
export type FrameId = Uint8Array;

interface Sender {
  readonly salt: Uint8Array;
  readonly key: KeyObject;
  sealed: number;
}

/** Seals and opens under one key. Costs some microseconds a frame, and as much again as AES takes for its bytes. */
export class Seal {
  readonly #master: KeyObject;
  readonly #aliasKey: KeyObject;
  readonly #senders = new Map<SealedKind, Sender>();
  /** By kind and salt, used last at the end. */
  readonly #keys = new Map<string, KeyObject>();

  readonly #maxFrames: number;

  /** Takes the 32 bytes and wipes them. `maxFrames` a kind, until another salt is drawn. */
  constructor(key: SecretBuffer, maxFrames = MAX_FRAMES) {
    this.#maxFrames = maxFrames;
    this.#master = key.use((bytes) => createSecretKey(bytes));
    key.wipe();
    this.#aliasKey = this.#derive('id', new Uint8Array(0));
  }

  /** `about`: what tells the request that an answer belongs to. */
  seal(kind: SealedKind, name: string, data: Uint8Array, about?: FrameId): Uint8Array {
    const sender = this.#sender(kind);
    const frame = Buffer.allocUnsafe(HEADER + data.length + TAG);
    frame[0] = VERSION;
    frame[1] = SEALED_KINDS.indexOf(kind);
    frame.set(sender.salt, 2);
    frame.writeUIntBE(sender.sealed++, 2 + SALT, COUNTER);
    const cipher = createCipheriv('aes-256-gcm', sender.key, nonceOf(frame));
    cipher.setAAD(aadOf(kind, name, about));
    frame.set(cipher.update(data), HEADER);
    cipher.final();
    frame.set(cipher.getAuthTag(), HEADER + data.length);
    return frame;
  }

  /** Throws `bus.seal-broken`, which says nothing of why. */
  open(kind: SealedKind, name: string, frame: Uint8Array, about?: FrameId): Uint8Array {
    if (frame.length < SEAL_OVERHEAD || frame[0] !== VERSION || kindOf(frame) !== kind) {
      throw broken(kind, name);
    }
    const id = `${kind}:${Buffer.from(frame.buffer, frame.byteOffset + 2, SALT).toString('latin1')}`;
    const known = this.#keys.get(id);
    const key = known ?? this.#derive(kind, frame.subarray(2, 2 + SALT));
    const end = frame.length - TAG;
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(frame), { authTagLength: TAG });
      decipher.setAAD(aadOf(kind, name, about));
      decipher.setAuthTag(frame.subarray(end));
      const opened = decipher.update(frame.subarray(HEADER, end));
      decipher.final();
      // Only what opened is kept: made-up salts push nobody's key out.
      this.#keep(id, key);
      return new Uint8Array(opened.buffer, opened.byteOffset, opened.length);
    } catch {
      throw broken(kind, name);
    }
  }

  /** The same for the same name in every process that has the key, and no help in guessing the name to any other. */
  alias(name: string): string {
    return createHmac('sha256', this.#aliasKey).update(name).digest('base64url');
  }

  #sender(kind: SealedKind): Sender {
    const known = this.#senders.get(kind);
    if (known !== undefined && known.sealed < this.#maxFrames) return known;
    const salt = randomBytes(SALT);
    const sender = { salt, key: this.#derive(kind, salt), sealed: 0 };
    this.#senders.set(kind, sender);
    return sender;
  }

  #derive(kind: SealedKind | 'id', salt: Uint8Array): KeyObject {
    const info = `ai-guardian bus 1 ${kind}`;
    const key = SecretBuffer.from(new Uint8Array(hkdfSync('sha256', this.#master, salt, info, KEY_BYTES)));
    try {
      return key.use((bytes) => createSecretKey(bytes));
    } finally {
      key.wipe();
    }
  }

  #keep(id: string, key: KeyObject): void {
    this.#keys.delete(id);
    this.#keys.set(id, key);
    if (this.#keys.size <= KEPT_KEYS) return;
    for (const oldest of this.#keys.keys()) {
      this.#keys.delete(oldest);
      return;
    }
  }
}

/** Salt and counter of a frame, a view on it. */
export function frameIdOf(frame: Uint8Array): FrameId {
  return frame.subarray(2, HEADER);
}

/** What a frame says that it is; undefined for what is none. */
export function kindOf(frame: Uint8Array): SealedKind | undefined {
  return SEALED_KINDS[frame[1] ?? SEALED_KINDS.length];
}

/** Twelve bytes: six of zero, then the counter. */
function nonceOf(frame: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12);
  nonce.set(frame.subarray(2 + SALT, HEADER), 12 - COUNTER);
  return nonce;
}

/** Names have no byte of zero and salts and counters one length, so no two readings are alike. */
function aadOf(kind: SealedKind, name: string, about: FrameId | undefined): Uint8Array {
  const text = `${kind}\0${name}\0`;
  const aad = Buffer.allocUnsafe(1 + text.length + (about?.length ?? 0));
  aad[0] = VERSION;
  aad.write(text, 1, 'latin1');
  if (about !== undefined) aad.set(about, 1 + text.length);
  return aad;
}

function broken(kind: SealedKind, name: string): BusError {
  return new BusError('bus.seal-broken', `a ${kind} of ${name} does not open under the key of this bus`);
}
