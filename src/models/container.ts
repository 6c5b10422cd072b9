import { canonicalJson, parseCanonicalJson } from '../crypto/index.ts';
import { ModelError } from './errors.ts';

/** `\x89AGM\r\n`: a high byte and a line end, so that text transfer damages it visibly. */
const MAGIC = [0x89, 0x41, 0x47, 0x4d, 0x0d, 0x0a] as const;
const PRELUDE_BYTES = 12;
const ALIGNMENT = 8;
/** Cap of the header, in bytes. */
export const MAX_HEADER_BYTES = 1 << 20;

const ARRAYS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array } as const;

export type SectionType = keyof typeof ARRAYS;
export type SectionArray = Uint8Array | Uint16Array | Uint32Array | Float32Array;

/** A named typed array of the container. */
export interface Section {
  readonly name: string;
  readonly dtype: SectionType;
  readonly data: SectionArray;
}

/** What a container holds. */
export interface Container {
  readonly version: number;
  /** The header without its table of sections. */
  readonly header: Readonly<Record<string, unknown>>;
  readonly sections: ReadonlyMap<string, Section>;
}

/**
 * Writes a container: magic (6 bytes), u16 version, u32 header length, header (canonical JSON with a member `sections`:
 * name, dtype and length of each), then the sections in that order, each at a multiple of 8 with zeros between, nothing
 * behind the last. Little-endian throughout; typed arrays are copied as they lie, so hosts are little-endian too, as all
 * that Node runs on here are.
 */
export function encodeContainer(
  version: number,
  header: Readonly<Record<string, unknown>>,
  sections: readonly Section[],
): Uint8Array {
  const table = sections.map(({ name, dtype, data }) => ({ name, dtype, length: data.length }));
  const text = new TextEncoder().encode(canonicalJson({ ...header, sections: table }));
  if (text.length > MAX_HEADER_BYTES) {
    throw new ModelError(
      'models.malformed',
      `the header has ${text.length} bytes, at most ${MAX_HEADER_BYTES}`,
    );
  }
  let size = PRELUDE_BYTES + text.length;
  for (const { data } of sections) size = align(size) + data.byteLength;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint16(6, version, true);
  view.setUint32(8, text.length, true);
  bytes.set(text, PRELUDE_BYTES);
  let at = PRELUDE_BYTES + text.length;
  for (const { data } of sections) {
    at = align(at);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** The version that a file claims, before anything of it is checked; undefined where it is too short to claim one. */
export function peekVersion(bytes: Uint8Array): number | undefined {
  if (bytes.length < PRELUDE_BYTES) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint16(6, true);
}

/**
 * Reads what `encodeContainer` wrote, and nothing else: every length is checked before it is used, padding must be zero,
 * the header canonical. The sections are copies. Throws models.malformed.
 */
export function decodeContainer(bytes: Uint8Array): Container {
  if (bytes.length < PRELUDE_BYTES || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw malformed('the file does not begin as a model file');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(6, true);
  const headerLength = view.getUint32(8, true);
  if (headerLength > MAX_HEADER_BYTES || headerLength > bytes.length - PRELUDE_BYTES) {
    throw malformed(`the header claims ${headerLength} bytes`);
  }
  let at = PRELUDE_BYTES + headerLength;
  const { sections: table, ...header } = parseHeader(bytes.subarray(PRELUDE_BYTES, at));
  if (!Array.isArray(table)) throw malformed('the header has no table of sections');
  const sections = new Map<string, Section>();
  for (const entry of table as readonly unknown[]) {
    const { name, dtype, length } = checkEntry(entry);
    if (sections.has(name)) throw malformed(`section ${name} stands twice`);
    const start = align(at);
    const end = start + length * ARRAYS[dtype].BYTES_PER_ELEMENT;
    if (end > bytes.length) throw malformed(`section ${name} ends at ${end} of ${bytes.length} bytes`);
    if (bytes.subarray(at, start).some((byte) => byte !== 0)) throw malformed('padding is not zero');
    sections.set(name, { name, dtype, data: new ARRAYS[dtype](copyOf(bytes, start, end)) });
    at = end;
  }
  if (at !== bytes.length) throw malformed(`${bytes.length - at} bytes follow the last section`);
  return { version, header, sections };
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseCanonicalJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new ModelError('models.malformed', 'the header is not canonical json', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed('the header is not an object');
  }
  return value as Record<string, unknown>;
}

function checkEntry(entry: unknown): { name: string; dtype: SectionType; length: number } {
  if (typeof entry !== 'object' || entry === null) throw malformed('a section is not described by an object');
  const { name, dtype, length, ...rest } = entry as Record<string, unknown>;
  if (
    typeof name !== 'string' ||
    typeof dtype !== 'string' ||
    !Object.hasOwn(ARRAYS, dtype) ||
    typeof length !== 'number' ||
    !Number.isSafeInteger(length) ||
    length < 0 ||
    length > 0xffffffff ||
    Object.keys(rest).length > 0
  ) {
    throw malformed('a section needs a name, a known dtype and a length');
  }
  return { name, dtype: dtype as SectionType, length };
}

/** A Buffer's own slice would share the memory of its pool. */
function copyOf(bytes: Uint8Array, start: number, end: number): ArrayBuffer {
  return new Uint8Array(bytes.subarray(start, end)).buffer;
}

function align(at: number): number {
  return Math.ceil(at / ALIGNMENT) * ALIGNMENT;
}

function malformed(message: string): ModelError {
  return new ModelError('models.malformed', message);
}
