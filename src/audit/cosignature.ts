import { verifySignature } from '../crypto/index.ts';
import { NOTE_COSIGNATURE, type NoteKey, type NoteSignature, parseNote, SIGNATURE_BYTES } from './note.ts';

/** A witness's statement that a checkpoint continues all that it saw of the log before. */
export interface Cosignature {
  /** Name of the witness's key. */
  readonly name: string;
  /** Seconds since 1970, as the witness says. */
  readonly timestamp: number;
  /** The signature line, without its newline. */
  readonly line: string;
}

const TIMESTAMP_BYTES = 8;

/** The text that a cosignature/v1 is over (C2SP tlog-cosignature). */
export function cosignedText(body: string, timestamp: number): string {
  return `cosignature/v1\ntime ${timestamp}\n${body}`;
}

/**
 * The valid cosignatures among a note's signatures, at most one for each key. Those of unknown keys and false ones are
 * passed over: a witness that errs must not make a good checkpoint unreadable.
 */
export function validCosignatures(
  body: string,
  signatures: readonly NoteSignature[],
  keys: readonly NoteKey[],
): readonly Cosignature[] {
  return keys.flatMap((key) => {
    for (const signature of signatures) {
      const timestamp = timestampOf(body, signature, key);
      if (timestamp !== undefined) return [{ name: key.name, timestamp, line: signature.line }];
    }
    return [];
  });
}

/** The same for a whole note. Empty where the text is none. */
export function readCosignatures(text: string, keys: readonly NoteKey[]): readonly Cosignature[] {
  const note = parseNote(text);
  return note === undefined ? [] : validCosignatures(note.body, note.signatures, keys);
}

function timestampOf(body: string, { name, id, bytes }: NoteSignature, key: NoteKey): number | undefined {
  const isOfKey = key.type === NOTE_COSIGNATURE && name === key.name && id.equals(key.id);
  if (!isOfKey || bytes.length !== TIMESTAMP_BYTES + SIGNATURE_BYTES) return undefined;
  const timestamp = Number(bytes.readBigUInt64BE());
  const signature = bytes.subarray(TIMESTAMP_BYTES);
  if (!Number.isSafeInteger(timestamp)) return undefined;
  const message = Buffer.from(cosignedText(body, timestamp));
  return verifySignature(key.publicKeyPem, 'ed25519', message, signature) ? timestamp : undefined;
}
