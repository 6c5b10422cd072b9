import { createPublicKey } from 'node:crypto';
import { type KeyStore, sha256Bytes, verifySignature } from '../crypto/index.ts';
import { AuditError } from './errors.ts';
import { HASH_BYTES } from './merkle.ts';

/** A tree head that was signed. */
export interface SignedCheckpoint {
  /** The log's name, and the name of the key. */
  readonly origin: string;
  readonly size: number;
  /** The root in base64. */
  readonly root: string;
  /** The whole signed note, as stored and as published (C2SP tlog-checkpoint). */
  readonly text: string;
}

const ED25519 = 1;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
const SIGNATURE_LINE = /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/u;
const BODY = /^([^\s+]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/u;

/** Signs a tree head with the store's active log key. */
export async function signCheckpoint(
  keys: KeyStore,
  head: { readonly origin: string; readonly size: number; readonly root: Buffer },
): Promise<SignedCheckpoint> {
  const { origin, size } = head;
  const root = head.root.toString('base64');
  const body = `${origin}\n${size}\n${root}\n`;
  if (!BODY.test(body)) {
    throw new AuditError(
      'audit.checkpoint-forged',
      `expected an origin without spaces and plus signs, got "${origin}"`,
    );
  }
  const key = await keys.active('log-signing');
  const signature = await keys.sign(key.id, Buffer.from(body));
  const signed = Buffer.concat([noteKeyId(origin, key.publicKeyPem ?? ''), signature]).toString('base64');
  return { origin, size, root, text: `${body}\n— ${origin} ${signed}\n` };
}

/**
 * Reads a checkpoint that one of the given keys (SPKI PEM) has signed. Signatures of others, witnesses say, are
 * passed over. Throws `audit.checkpoint-forged`.
 */
export function verifyCheckpoint(text: string, publicKeysPem: readonly string[]): SignedCheckpoint {
  const end = text.indexOf('\n\n');
  const body = text.slice(0, end + 1);
  const [, origin, size, root] = BODY.exec(body) ?? [];
  if (end < 0 || !text.endsWith('\n') || origin === undefined || root === undefined || size === undefined) {
    throw new AuditError('audit.checkpoint-forged', 'expected a signed checkpoint, got another text');
  }
  if (!Number.isSafeInteger(Number(size)) || !isBase64(root, HASH_BYTES)) {
    throw new AuditError('audit.checkpoint-forged', 'expected a size and a root hash in the checkpoint');
  }
  let isSigned = false;
  for (const line of text.slice(end + 2, -1).split('\n')) {
    const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? [];
    if (name === undefined || encoded === undefined || !isBase64(encoded)) {
      throw new AuditError(
        'audit.checkpoint-forged',
        'expected a signature line in the checkpoint, got another',
      );
    }
    if (name === origin && publicKeysPem.some((pem) => isSignedBy(pem, origin, body, encoded)))
      isSigned = true;
  }
  if (!isSigned) {
    throw new AuditError(
      'audit.checkpoint-forged',
      `the checkpoint of ${origin} is not signed by a trusted log key`,
    );
  }
  return { origin, size: Number(size), root, text };
}

function isSignedBy(pem: string, origin: string, body: string, encoded: string): boolean {
  const bytes = Buffer.from(encoded, 'base64');
  return (
    isLogKey(pem) &&
    bytes.length === KEY_ID_BYTES + SIGNATURE_BYTES &&
    bytes.subarray(0, KEY_ID_BYTES).equals(noteKeyId(origin, pem)) &&
    verifySignature(pem, 'ed25519', Buffer.from(body), bytes.subarray(KEY_ID_BYTES))
  );
}

/** Whether a key is one that a log can have; a note is never verified with a key of another kind. */
function isLogKey(publicKeyPem: string): boolean {
  try {
    return createPublicKey(publicKeyPem).asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}

/** C2SP signed-note: the first four bytes of SHA-256(name || newline || 0x01 || public key). */
function noteKeyId(name: string, publicKeyPem: string): Buffer {
  const spki = createPublicKey(publicKeyPem).export({ format: 'der', type: 'spki' });
  const raw = spki.subarray(spki.length - 32);
  const hash = sha256Bytes(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ED25519]), raw]));
  return Buffer.from(hash.subarray(0, KEY_ID_BYTES));
}

/** Strict, so that a changed byte cannot decode to the same bytes. */
export function isBase64(text: string, length?: number): boolean {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text && (length === undefined || bytes.length === length);
}
