import { CryptoError } from './errors.ts';

/** The parts of an RFC 7512 `pkcs11:` URI that say where keys are. */
export interface Pkcs11Uri {
  /** CKA label of the token, and what else must fit. */
  readonly token?: string;
  readonly serial?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  readonly slotId?: number;
  /** Prefix of the labels of all objects of one key store, so that one token can hold several. */
  readonly object?: string;
  readonly modulePath?: string;
  /** Path of the file that holds the PIN. */
  readonly pinPath?: string;
}

const PATH_ATTRIBUTES = ['token', 'serial', 'manufacturer', 'model', 'slot-id', 'object'] as const;
const QUERY_ATTRIBUTES = ['module-path', 'pin-source'] as const;
const CHARACTERS = /^[A-Za-z0-9\-._~:[\]@!$'()*+,;=&/?%]*$/;

export function isPkcs11Uri(text: string): boolean {
  return /^pkcs11:/i.test(text);
}

/**
 * Reads a URI; a part that is not known is refused, since ignoring one could mean another token. So is `pin-value`: a
 * PIN in a configuration or command line is a PIN that others read. Throws `crypto.uri-invalid`, never echoing the URI.
 */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  if (!isPkcs11Uri(text)) throw invalid('expected a URI that begins with pkcs11:');
  if (/pin-value/i.test(text)) {
    throw invalid(
      'pin-value is refused; write the PIN to a file of mode 600 and name it by pin-source=file:',
    );
  }
  if (!CHARACTERS.test(text)) throw invalid('it holds a character that must be percent-encoded');
  const [path = '', query, ...rest] = text.slice('pkcs11:'.length).split('?');
  if (rest.length > 0) throw invalid('it has two question marks');
  const parts = new Map<string, string>();
  readAttributes(path, ';', PATH_ATTRIBUTES, parts);
  // Many write query attributes among the others; what they mean is plain.
  readAttributes(query ?? '', '&', QUERY_ATTRIBUTES, parts);
  const slot = parts.get('slot-id');
  if (slot !== undefined && !/^\d{1,10}$/.test(slot)) throw invalid('slot-id is not a number');
  const modulePath = parts.get('module-path');
  if (modulePath !== undefined && !modulePath.startsWith('/')) throw invalid('module-path is not absolute');
  return {
    ...text_('token', parts.get('token')),
    ...text_('serial', parts.get('serial')),
    ...text_('manufacturer', parts.get('manufacturer')),
    ...text_('model', parts.get('model')),
    ...text_('object', parts.get('object')),
    ...text_('modulePath', modulePath),
    ...(slot !== undefined && { slotId: Number(slot) }),
    ...text_('pinPath', pinPath(parts.get('pin-source'))),
  };
}

function readAttributes(
  text: string,
  separator: ';' | '&',
  known: readonly string[],
  parts: Map<string, string>,
): void {
  if (text === '') return;
  for (const attribute of text.split(separator)) {
    const at = attribute.indexOf('=');
    const name = attribute.slice(0, Math.max(0, at));
    const isKnown = known.includes(name) || (separator === ';' && QUERY_ATTRIBUTES.some((q) => q === name));
    if (!isKnown)
      throw invalid(`the attribute ${JSON.stringify(name.slice(0, 40))} is not one that is known here`);
    if (parts.has(name)) throw invalid(`the attribute ${name} stands twice`);
    try {
      parts.set(name, decodeURIComponent(attribute.slice(at + 1)));
    } catch (cause) {
      throw invalid(`the attribute ${name} is not a valid encoding`, cause);
    }
  }
}

/** `file:/path`, `file:///path` and the bare path of RFC 7512; never a command (`|program`) or another scheme. */
function pinPath(source: string | undefined): string | undefined {
  if (source === undefined) return undefined;
  const path = source.replace(/^file:(\/\/(?=\/))?/, '');
  if (!path.startsWith('/')) throw invalid('pin-source must be file: and an absolute path');
  return path;
}

function text_<K extends string>(name: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: string };
}

function invalid(what: string, cause?: unknown): CryptoError {
  return new CryptoError('crypto.uri-invalid', `pkcs11 uri: ${what}`, cause === undefined ? {} : { cause });
}
