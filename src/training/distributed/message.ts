import type { z } from 'zod';
import { TrainingError } from '../errors.ts';

/**
 * What workers and coordinators send: uint32 little-endian length of a JSON text, the text, zeros up to a multiple of 4, then
 * the body. The text says what the body is.
 */
export function encodeMessage(head: unknown, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const at = 4 + ((text.length + 3) & ~3);
  const out = new Uint8Array(at + body.length);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 4);
  out.set(body, at);
  return out;
}

/**
 * The parts of a message; the body is a copy, or lies in `bytes` where those are `owned` and int32 can be read there. Throws
 * `training.message-refused` for what `schema` does not take.
 */
export function decodeMessage<T>(
  bytes: Uint8Array,
  schema: z.ZodType<T>,
  { owned = false }: { readonly owned?: boolean } = {},
): { readonly head: T; readonly body: Uint8Array<ArrayBuffer> } {
  const length =
    bytes.length < 4 ? -1 : new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(0, true);
  // Before anything is computed from it: rounded up as an int32, a length beyond 2^31 would turn negative.
  const isWhole = length >= 0 && length <= bytes.length - 4;
  const at = isWhole ? 4 + Math.ceil(length / 4) * 4 : bytes.length + 1;
  if (at > bytes.length) throw refused('expected a message, got fewer bytes than it announces');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(4, 4 + length)));
  } catch {
    throw refused('expected a message, got text that is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refused(`expected a message, got one whose ${issue?.path.join('.')} is not: ${issue?.message}`);
  }
  const { buffer, byteOffset } = bytes;
  if (owned && buffer instanceof ArrayBuffer && (byteOffset + at) % 4 === 0) {
    return { head: parsed.data, body: new Uint8Array(buffer, byteOffset + at, bytes.length - at) };
  }
  // A Buffer's `slice` would not copy.
  return { head: parsed.data, body: new Uint8Array(bytes.subarray(at)) };
}

/** The int32 values of a body. Throws `training.message-refused` where there are not `length` of them. */
export function vectorOf(body: Uint8Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  if (body.length !== length * 4) {
    throw refused(`expected ${length} sums, got ${body.length} bytes`);
  }
  return new Int32Array(body.buffer, body.byteOffset, length);
}

/** The bytes of a vector, not copied. */
export function bytesOf(vector: ArrayBufferView): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}

export function refused(message: string): TrainingError {
  return new TrainingError('training.message-refused', message);
}
