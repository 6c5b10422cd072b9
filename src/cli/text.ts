/**
 * Makes text from outside safe to print: control and format characters, escape sequences and line breaks
 * become visible. Names from the wire are hostile.
 */
export function printable(text: string, limit = 200): string {
  const shown = text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu,
    (character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`,
  );
  return shown.length > limit ? `${shown.slice(0, limit)}…` : shown;
}

/** Lines of a table with its columns aligned; columns of numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const isNumber = head.map(
    (_, i) =>
      rows.length > 0 && rows.every((row) => /^(|-|[-+]?[\d.,]+(e[-+]?\d+)?( %)?)$/.test(row[i] ?? '')),
  );
  return all
    .map((row) =>
      widths
        .map((width, i) => (isNumber[i] ? (row[i] ?? '').padStart(width) : (row[i] ?? '').padEnd(width)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function percent(share: number, digits = 2): string {
  return Number.isNaN(share) ? '-' : `${(share * 100).toFixed(digits)} %`;
}

/** Four digits that count, without an exponent where people need none. */
export function figure(value: number): string {
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) >= 1e-3 ? String(Number(value.toPrecision(4))) : value.toExponential(1);
}

export function count(n: number): string {
  return n.toLocaleString('en-US');
}
