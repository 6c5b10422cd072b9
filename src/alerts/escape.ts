const MAX_LENGTH = 256;

/**
 * Names from the wire are hostile: they may carry ANSI sequences that repaint a terminal, newlines that forge a
 * log line, or bidirectional controls that turn a line around. Control and format characters, line and
 * paragraph separators, lone surrogates and unassigned code points become visible as `\u{..}`; a backslash is
 * doubled, so that the text can be told from an escape. At most 256 characters are shown.
 */
export function escapeWire(text: string): string {
  let out = '';
  let length = 0;
  for (const character of text) {
    if (length++ === MAX_LENGTH) return `${out}...`;
    if (character === '\\') out += '\\\\';
    else if (/[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}]/u.test(character)) {
      out += `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
    } else out += character;
  }
  return out;
}

/** For a readable line: also quotes are escaped, and spaces other than the plain one. */
export function escapeQuoted(text: string): string {
  return escapeWire(text)
    .replaceAll('"', '\\"')
    .replaceAll(/[^\S ]/gu, (space) => `\\u{${hex(space)}}`);
}

/** Every string within a value, keys included, for output as JSON. */
export function escapeDeep(value: unknown): unknown {
  if (typeof value === 'string') return escapeWire(value);
  if (Array.isArray(value)) return value.map(escapeDeep);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [escapeWire(key), escapeDeep(inner)]),
  );
}

function hex(character: string): string {
  return (character.codePointAt(0) as number).toString(16);
}
