import { CryptoError } from './errors.ts';

/** Values may be nested this deep; deeper ones are refused before the stack is at risk. */
const MAX_DEPTH = 256;

/**
 * Canonical JSON by RFC 8785: no white space, members sorted by UTF-16 code units, numbers and strings as
 * ECMAScript writes them. Equal values give equal bytes, so the text can be hashed and signed.
 *
 * Refuses with `crypto.not-canonical` what JSON cannot hold: NaN, infinities, undefined, bigint, functions,
 * lone surrogates, cycles, and objects that are not plain (a Date or a Map would be written as something else).
 */
export function canonicalJson(value: unknown): string {
  return write(value, []);
}

/** Parses a text that must be in canonical form; so two texts that differ never parse to the same value. */
export function parseCanonicalJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CryptoError('crypto.not-canonical', 'expected canonical json, got text that is not json', {
      cause,
    });
  }
  if (canonicalJson(value) !== text) {
    throw new CryptoError('crypto.not-canonical', 'expected canonical json, got json in another form');
  }
  return value;
}

function write(value: unknown, ancestors: object[]): string {
  switch (typeof value) {
    case 'string':
      return writeString(value);
    case 'number':
      if (!Number.isFinite(value)) throw refused(`the number ${value}`);
      // RFC 8785 section 3.2.2.3: ECMAScript's own form; -0 becomes 0.
      return String(value === 0 ? 0 : value);
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? 'null' : writeNested(value, ancestors);
    default:
      throw refused(`a value of type ${typeof value}`);
  }
}

function writeString(text: string): string {
  if (!text.isWellFormed()) throw refused('a string with a lone surrogate');
  return JSON.stringify(text);
}

function writeNested(value: object, ancestors: object[]): string {
  if (ancestors.includes(value)) throw refused('a cycle');
  if (ancestors.length >= MAX_DEPTH) throw refused(`nesting deeper than ${MAX_DEPTH}`);
  ancestors.push(value);
  const text = Array.isArray(value) ? writeArray(value, ancestors) : writeObject(value, ancestors);
  ancestors.pop();
  return text;
}

function writeArray(value: readonly unknown[], ancestors: object[]): string {
  const parts: string[] = [];
  // An index loop, because map() would skip holes and hide them.
  for (let i = 0; i < value.length; i++) parts.push(write(value[i], ancestors));
  return `[${parts.join(',')}]`;
}

function writeObject(value: object, ancestors: object[]): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refused('an object that is not plain');
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, item]) => `${writeString(key)}:${write(item, ancestors)}`).join(',')}}`;
}

function refused(what: string): CryptoError {
  return new CryptoError('crypto.not-canonical', `expected a value that json can hold, got ${what}`);
}
