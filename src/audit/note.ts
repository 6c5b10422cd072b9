import { createPublicKey } from 'node:crypto';
import { sha256Bytes, verifySignature } from '../crypto/index.ts';

/** Signature types of C2SP signed-note: an Ed25519 signature, and a witness's timestamped one. */
export const NOTE_ED25519 = 1;
export const NOTE_COSIGNATURE = 4;

export const KEY_ID_BYTES = 4;
export const SIGNATURE_BYTES = 64;
/** More than a verifier must take (16), few enough that a hostile note costs nothing. */
const MAX_SIGNATURES = 64;
const SIGNATURE_LINE = /^— ([^\s+]+) ([A-Za-z0-9+/]+=*)$/u;
const VERIFIER_KEY = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/u;
/** What precedes the 32 bytes of an Ed25519 key in SPKI. */
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

/** A key that signs notes under a name. */
export interface NoteKey {
  readonly name: string;
  readonly type: typeof NOTE_ED25519 | typeof NOTE_COSIGNATURE;
  readonly id: Buffer;
  readonly publicKeyPem: string;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: Buffer;
  /** What follows the key id. */
  readonly bytes: Buffer;
  /** The line as it stands in the note, without its newline. */
  readonly line: string;
}

export interface ParsedNote {
  /** The signed text with its final newline. */
  readonly body: string;
  readonly signatures: readonly NoteSignature[];
}

/** Splits a note (C2SP signed-note); undefined where it is none. No signature is verified. */
export function parseNote(text: string): ParsedNote | undefined {
  const end = text.lastIndexOf('\n\n');
  if (end < 0 || !text.endsWith('\n') || hasControl(text)) return undefined;
  const signatures = parseSignatureLines(text.slice(end + 2));
  return signatures === undefined ? undefined : { body: text.slice(0, end + 1), signatures };
}

/** Reads lines of signatures, each with its newline; undefined where one is malformed or there are none. */
export function parseSignatureLines(text: string): readonly NoteSignature[] | undefined {
  const lines = text.slice(0, -1).split('\n');
  if (!text.endsWith('\n') || lines.length > MAX_SIGNATURES) return undefined;
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const [, name, encoded] = SIGNATURE_LINE.exec(line) ?? [];
    if (name === undefined || encoded === undefined || !isBase64(encoded)) return undefined;
    const bytes = Buffer.from(encoded, 'base64');
    if (bytes.length <= KEY_ID_BYTES) return undefined;
    signatures.push({
      name,
      id: bytes.subarray(0, KEY_ID_BYTES),
      bytes: bytes.subarray(KEY_ID_BYTES),
      line,
    });
  }
  return signatures;
}

/**
 * The body of a note, if one of the keys signed it and none of the keys has a bad signature on it; signatures of others
 * are passed over. Keys are of type Ed25519.
 */
export function openNote(text: string, keys: readonly NoteKey[]): string | undefined {
  const note = parseNote(text);
  if (note === undefined) return undefined;
  let isSigned = false;
  for (const signature of note.signatures) {
    const key = keys.find(({ name, id }) => name === signature.name && id.equals(signature.id));
    if (key === undefined) continue;
    if (!isSignedBy(note.body, signature, key)) return undefined;
    isSigned = true;
  }
  return isSigned ? note.body : undefined;
}

/** Whether an Ed25519 note signature is that of a key over a body. */
export function isSignedBy(body: string, { name, id, bytes }: NoteSignature, key: NoteKey): boolean {
  return (
    key.type === NOTE_ED25519 &&
    name === key.name &&
    id.equals(key.id) &&
    bytes.length === SIGNATURE_BYTES &&
    verifySignature(key.publicKeyPem, 'ed25519', Buffer.from(body), bytes)
  );
}

/** A line of a note's signature, without its newline. */
export function signatureLine(key: Pick<NoteKey, 'name' | 'id'>, signature: Uint8Array): string {
  return `— ${key.name} ${Buffer.concat([key.id, signature]).toString('base64')}`;
}

/** A key of a name; undefined where the PEM is not an Ed25519 public key: notes are verified with no other kind. */
export function noteKey(
  name: string,
  publicKeyPem: string,
  type: NoteKey['type'] = NOTE_ED25519,
): NoteKey | undefined {
  try {
    const key = createPublicKey(publicKeyPem);
    if (key.asymmetricKeyType !== 'ed25519') return undefined;
    const raw = key.export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length);
    return { name, type, id: keyId(name, type, raw), publicKeyPem };
  } catch {
    return undefined;
  }
}

/** Reads a verifier key, `name+id+key` (C2SP signed-note "vkey"); undefined where it is none or its id is wrong. */
export function parseVerifierKey(vkey: string): NoteKey | undefined {
  const [, name, id, encoded] = VERIFIER_KEY.exec(vkey) ?? [];
  if (name === undefined || encoded === undefined || !isBase64(encoded, 33)) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  const [type] = bytes;
  if (type !== NOTE_ED25519 && type !== NOTE_COSIGNATURE) return undefined;
  const der = Buffer.concat([SPKI_ED25519, bytes.subarray(1)]).toString('base64');
  const key = noteKey(name, `-----BEGIN PUBLIC KEY-----\n${der}\n-----END PUBLIC KEY-----\n`, type);
  return key?.id.toString('hex') === id ? key : undefined;
}

/** The verifier key of a note key, to be given to others. */
export function formatVerifierKey({ name, type, id, publicKeyPem }: NoteKey): string {
  const raw = createPublicKey(publicKeyPem)
    .export({ format: 'der', type: 'spki' })
    .subarray(SPKI_ED25519.length);
  return `${name}+${id.toString('hex')}+${Buffer.concat([Buffer.from([type]), raw]).toString('base64')}`;
}

/** Strict, so that a changed byte cannot decode to the same bytes. */
export function isBase64(text: string, length?: number): boolean {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text && (length === undefined || bytes.length === length);
}

/** C2SP signed-note: the first four bytes of SHA-256(name || newline || type || public key). */
function keyId(name: string, type: number, raw: Uint8Array): Buffer {
  const hash = sha256Bytes(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([type]), raw]));
  return Buffer.from(hash.subarray(0, KEY_ID_BYTES));
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return true;
  }
  return false;
}
