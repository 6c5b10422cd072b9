/**
 * Rows of a CSV text (RFC 4180: quoted cells, doubled quotes, LF or CRLF; a BOM is skipped, empty lines too),
 * in one batch a chunk.
 */
export async function* readCsvRows(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[][]> {
  const decoder = new TextDecoder(); // drops a BOM at the start
  let held = '';
  for await (const chunk of chunks) {
    held += decoder.decode(chunk, { stream: true });
    const rows: string[][] = [];
    held = held.slice(splitRows(held, rows, false));
    yield rows;
  }
  const rows: string[][] = [];
  held += decoder.decode();
  splitRows(held, rows, true);
  yield rows;
}

/** Appends whole rows and returns where the unfinished one begins. */
function splitRows(text: string, rows: string[][], isLast: boolean): number {
  let start = 0;
  while (start < text.length) {
    const end = endOfRow(text, start);
    if (end === -1 && !isLast) break;
    const stop = end === -1 ? text.length : end;
    const line = text.slice(start, text.charCodeAt(stop - 1) === 13 ? stop - 1 : stop);
    if (line !== '') rows.push(line.includes('"') ? splitQuoted(line) : line.split(','));
    start = stop + 1;
  }
  return start;
}

/** The next line feed that is not inside quotes; -1 where there is none yet. */
function endOfRow(text: string, start: number): number {
  let end = text.indexOf('\n', start);
  const quote = text.indexOf('"', start);
  if (quote === -1 || quote > end) return end;
  let isQuoted = false;
  for (end = quote; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === 34) isQuoted = !isQuoted;
    else if (code === 10 && !isQuoted) return end;
  }
  return -1;
}

function splitQuoted(line: string): string[] {
  const cells: string[] = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^,]*))(,|$)/gy;
  for (let match = pattern.exec(line); match !== null; match = pattern.exec(line)) {
    cells.push(match[1] === undefined ? (match[2] ?? '') : match[1].replaceAll('""', '"'));
    if (match[3] === '') break;
  }
  return cells;
}
