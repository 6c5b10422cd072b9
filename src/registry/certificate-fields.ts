import type { X509Certificate } from 'node:crypto';

/** What a path is judged by and node:crypto does not tell (RFC 5280 section 4). */
export interface CertificateFields {
  /** DER of the names, in hexadecimal; equal names have equal bytes. */
  readonly issuer: string;
  readonly subject: string;
  /** Whether the key may sign documents; undefined where the key usage is not said. */
  readonly isDigitalSignature: boolean | undefined;
  /** How many authorities may stand between this one and the signer; undefined: any number. */
  readonly pathLength: number | undefined;
  /** An extension that must be understood and is not, by its identifier in hexadecimal. */
  readonly unknownCritical: string | undefined;
}

interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
  /** With tag and length. */
  readonly whole: Uint8Array;
}

const TAG = { boolean: 1, integer: 2, bits: 3, sequence: 0x30, version: 0xa0, extensions: 0xa3 } as const;
const KEY_USAGE = '551d0f';
const BASIC_CONSTRAINTS = '551d13';
const NAME_CONSTRAINTS = '551d1e';
/** Beside these two: alternative names (2.5.29.17) and extended key usage (2.5.29.37). Policies are not judged. */
const UNDERSTOOD = new Set([KEY_USAGE, BASIC_CONSTRAINTS, '551d11', '551d25']);
/** By place in TBSCertificate, after the version. */
const ISSUER = 2;
const SUBJECT = 4;

/** Reads the fields of one certificate; undefined where it is not of version 3 or its DER is not as it should be. */
export function readCertificateFields({ raw }: X509Certificate): CertificateFields | undefined {
  const body = elements(elements(raw)?.[0]?.content)?.[0];
  const [version, ...parts] = elements(body?.content) ?? [];
  const issuer = parts[ISSUER];
  const subject = parts[SUBJECT];
  if (version?.tag !== TAG.version || issuer === undefined || subject === undefined) return undefined;
  const extensions = readExtensions(parts.find(({ tag }) => tag === TAG.extensions));
  if (extensions === undefined) return undefined;
  let isDigitalSignature: boolean | undefined;
  let pathLength: number | undefined;
  let unknownCritical: string | undefined;
  for (const { id, isCritical, value } of extensions) {
    // Constraints on names bind even where they are, against the standard, not marked critical.
    if (id === NAME_CONSTRAINTS || (isCritical && !UNDERSTOOD.has(id))) unknownCritical ??= id;
    const inner = elements(value)?.[0];
    if (id === KEY_USAGE) {
      if (inner?.tag !== TAG.bits) return undefined;
      // The first byte counts unused bits; bit 0 is the highest of the second.
      isDigitalSignature = ((inner.content[1] ?? 0) & 0x80) !== 0;
    } else if (id === BASIC_CONSTRAINTS) {
      const limit = elements(inner?.content)?.find(({ tag }) => tag === TAG.integer);
      // A limit of more than one byte is far above any chain that is taken.
      if (limit !== undefined) pathLength = limit.content.length === 1 ? limit.content[0] : 0xff;
    }
  }
  return {
    issuer: hex(issuer.whole),
    subject: hex(subject.whole),
    isDigitalSignature,
    pathLength,
    unknownCritical,
  };
}

interface Extension {
  readonly id: string;
  readonly isCritical: boolean;
  readonly value: Uint8Array;
}

function readExtensions(field: Element | undefined): readonly Extension[] | undefined {
  if (field === undefined) return [];
  const found: Extension[] = [];
  for (const { content } of elements(elements(field.content)?.[0]?.content) ?? []) {
    const [id, ...rest] = elements(content) ?? [];
    const value = rest.at(-1);
    if (id === undefined || value === undefined) return undefined;
    const isCritical = rest[0]?.tag === TAG.boolean && rest[0].content[0] !== 0;
    found.push({ id: hex(id.content), isCritical, value: value.content });
  }
  const isEachOnce = new Set(found.map(({ id }) => id)).size === found.length;
  return isEachOnce ? found : undefined;
}

/** The DER elements that follow each other in the bytes; undefined where one is cut, or its tag or length is long. */
function elements(bytes: Uint8Array | undefined): readonly Element[] | undefined {
  if (bytes === undefined) return undefined;
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] as number;
    const first = bytes[at + 1];
    if (first === undefined || (tag & 0x1f) === 0x1f) return undefined;
    const size = first < 0x80 ? 0 : first & 0x7f;
    if (first >= 0x80 && (size === 0 || size > 3)) return undefined;
    let length = first < 0x80 ? first : 0;
    for (let i = 0; i < size; i++) length = length * 256 + (bytes[at + 2 + i] ?? 0);
    const start = at + 2 + size;
    const end = start + length;
    if (end > bytes.length) return undefined;
    found.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return found;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
