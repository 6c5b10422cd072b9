import { openBytes } from './byte-source.ts';
import { TrafficError } from './errors.ts';

export interface CsvOptions {
  /** One character between fields. */
  readonly delimiter: string;
  /** Characters of one field at most. */
  readonly maxFieldLength: number;
  /** Characters of one row at most. */
  readonly maxRowLength: number;
}

export const CSV_DEFAULTS: CsvOptions = { delimiter: ',', maxFieldLength: 1 << 16, maxRowLength: 1 << 20 };

/**
 * Rows of a CSV file (RFC 4180), in batches of about one chunk: fields quoted or not, quotes doubled inside quotes,
 * line ends LF or CRLF, a byte order mark skipped, empty lines left out, gzip told by its magic bytes. Rows may
 * differ in length. `from` is a path, `-` for standard input, or chunks of bytes of any size. Throws
 * `traffic.csv-malformed` with the line number when a quoted field does not end or a limit is passed,
 * `traffic.source-missing` and `traffic.read-failed`.
 */
export async function* readCsvRows(
  from: string | AsyncIterable<Uint8Array>,
  options: Partial<CsvOptions> = {},
): AsyncGenerator<readonly string[][]> {
  const source = await openBytes(from, (code) => {
    throw new TrafficError('traffic.csv-malformed', `the content is no gzip to its end (${code})`);
  });
  try {
    yield* parseCsv(source.chunks, options);
  } finally {
    source.stop();
  }
}

/** `readCsvRows` on bytes that are open already. */
export async function* parseCsv(
  chunks: AsyncIterable<Uint8Array>,
  options: Partial<CsvOptions> = {},
): AsyncGenerator<readonly string[][]> {
  const parser = new CsvParser({ ...CSV_DEFAULTS, ...options });
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    const rows = parser.push(decoder.decode(chunk, { stream: true }));
    if (rows.length > 0) yield rows;
  }
  const rows = parser.end(decoder.decode());
  if (rows.length > 0) yield rows;
}

class CsvParser {
  readonly #options: CsvOptions;
  /** Text that belongs to a row that is not complete. */
  #rest = '';
  /** Where in `#rest` to go on looking for the end of the row, and whether that is inside quotes. */
  #scanned = 0;
  #isQuoted = false;
  #line = 1;

  constructor(options: CsvOptions) {
    this.#options = options;
  }

  /** Takes the next text, and the last one with `isLast`; returns the rows that are complete. */
  push(text: string, isLast = false): string[][] {
    const rows: string[][] = [];
    const all = this.#rest + text;
    let start = 0;
    let at = this.#scanned;
    // The next line feed and quote are looked up once each, so that the cost stays linear.
    let feed = -1;
    let quote = -1;
    while (at < all.length) {
      if (this.#isQuoted) {
        const closing = all.indexOf('"', at);
        if (closing < 0) at = all.length;
        // The last quote of a chunk may be the first half of a doubled one.
        else if (closing + 1 === all.length && !isLast) break;
        else if (all[closing + 1] === '"') at = closing + 2;
        else {
          this.#isQuoted = false;
          at = closing + 1;
        }
        continue;
      }
      if (feed < at) feed = indexOrEnd(all, '\n', at);
      if (quote < at) quote = indexOrEnd(all, '"', at);
      if (quote < feed) {
        // Only a quote at the start of a field opens one; elsewhere it is a character like any other.
        this.#isQuoted = quote === start || all[quote - 1] === this.#options.delimiter;
        at = quote + 1;
      } else if (feed < all.length) {
        this.#addRow(rows, all.slice(start, feed));
        start = feed + 1;
        at = start;
      } else {
        at = all.length;
      }
    }
    this.#rest = all.slice(start);
    this.#scanned = at - start;
    if (this.#rest.length > this.#options.maxRowLength) throw this.#malformed('a row over the limit');
    return rows;
  }

  end(text: string): string[][] {
    const rows = this.push(text, true);
    if (this.#isQuoted) throw this.#malformed('a quoted field that does not end');
    if (this.#rest !== '') this.#addRow(rows, this.#rest);
    this.#rest = '';
    return rows;
  }

  #addRow(rows: string[][], text: string): void {
    const { delimiter, maxRowLength } = this.#options;
    const row = text.endsWith('\r') ? text.slice(0, -1) : text;
    if (row.length > maxRowLength) throw this.#malformed('a row over the limit');
    if (row !== '') {
      const fields = row.includes('"') ? this.#quotedFields(row) : row.split(delimiter);
      if (row.length > this.#options.maxFieldLength) this.#checkFields(fields);
      rows.push(fields);
    }
    this.#line++;
  }

  #quotedFields(row: string): string[] {
    const { delimiter } = this.#options;
    const fields: string[] = [];
    for (let at = 0; at <= row.length; ) {
      if (row[at] !== '"') {
        const end = row.indexOf(delimiter, at);
        fields.push(row.slice(at, end < 0 ? row.length : end));
        if (end < 0) break;
        at = end + 1;
        continue;
      }
      let field = '';
      let from = at + 1;
      for (;;) {
        const quote = row.indexOf('"', from);
        if (quote < 0) throw this.#malformed('a quoted field that does not end');
        field += row.slice(from, quote);
        from = quote + 1;
        if (row[from] !== '"') break;
        field += '"';
        from++;
      }
      fields.push(field);
      if (from === row.length) break;
      if (row[from] !== delimiter) throw this.#malformed('text after a closing quote');
      at = from + 1;
    }
    return fields;
  }

  #checkFields(fields: readonly string[]): void {
    if (fields.some((field) => field.length > this.#options.maxFieldLength)) {
      throw this.#malformed('a field over the limit');
    }
  }

  #malformed(what: string): TrafficError {
    return new TrafficError('traffic.csv-malformed', `expected CSV, row ${this.#line} has ${what}`);
  }
}

function indexOrEnd(text: string, character: string, from: number): number {
  const at = text.indexOf(character, from);
  return at < 0 ? text.length : at;
}
