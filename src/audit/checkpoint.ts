import type { KeyStore } from '../crypto/index.ts';
import { AuditError } from './errors.ts';
import { HASH_BYTES } from './merkle.ts';
import { isBase64, isSignedBy, noteKey, parseNote, signatureLine } from './note.ts';

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

const BODY = /^([^\s+]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/u;

/** Signs a tree head with the store's active log key. */
export async function signCheckpoint(
  keys: KeyStore,
  head: { readonly origin: string; readonly size: number; readonly root: Buffer },
): Promise<SignedCheckpoint> {
  const { origin, size } = head;
  const root = head.root.toString('base64');
  const body = checkpointBody({ origin, size, root });
  if (!BODY.test(body)) {
    throw new AuditError(
      'audit.checkpoint-forged',
      `expected an origin without spaces and plus signs, got "${origin}"`,
    );
  }
  return { origin, size, root, text: await signLogNote(keys, origin, body) };
}

/** The text that a checkpoint's signatures are over. */
export function checkpointBody({ origin, size, root }: Omit<SignedCheckpoint, 'text'>): string {
  return `${origin}\n${size}\n${root}\n`;
}

/** A note over `body`, signed with the store's active log key under the log's name. */
export async function signLogNote(keys: KeyStore, origin: string, body: string): Promise<string> {
  const { id, publicKeyPem } = await keys.active('log-signing');
  const key = noteKey(origin, publicKeyPem ?? '');
  if (key === undefined)
    throw new AuditError('audit.checkpoint-forged', 'expected an ed25519 key to sign the log with');
  return `${body}\n${signatureLine(key, await keys.sign(id, Buffer.from(body)))}\n`;
}

/**
 * Reads a checkpoint that one of the given keys (SPKI PEM) has signed. Signatures of others, witnesses say, are
 * passed over. Throws `audit.checkpoint-forged`.
 */
export function verifyCheckpoint(text: string, publicKeysPem: readonly string[]): SignedCheckpoint {
  const note = parseNote(text);
  const [, origin, size, root] = BODY.exec(note?.body ?? '') ?? [];
  if (note === undefined || origin === undefined || root === undefined || size === undefined) {
    throw new AuditError('audit.checkpoint-forged', 'expected a signed checkpoint, got another text');
  }
  if (!Number.isSafeInteger(Number(size)) || !isBase64(root, HASH_BYTES)) {
    throw new AuditError('audit.checkpoint-forged', 'expected a size and a root hash in the checkpoint');
  }
  const isSigned = publicKeysPem.some((pem) => {
    const key = noteKey(origin, pem);
    return key !== undefined && note.signatures.some((each) => isSignedBy(note.body, each, key));
  });
  if (!isSigned) {
    throw new AuditError(
      'audit.checkpoint-forged',
      `the checkpoint of ${origin} is not signed by a trusted log key`,
    );
  }
  return { origin, size: Number(size), root, text };
}
