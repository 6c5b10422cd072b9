import type { Bytes } from '../base/index.ts';

/** Longest line of a log that is read. */
export const MAX_LINE: Bytes = 1 << 20;

/**
 * The lines of a UTF-8 text fed in chunks of any size, in batches of one chunk each, without line ends (LF or
 * CRLF) and byte order mark. A line over `MAX_LINE` characters is left out and `onFault` told `line-too-long`;
 * what is no UTF-8 becomes U+FFFD.
 */
export async function* textLines(
  chunks: AsyncIterable<Uint8Array>,
  onFault: (code: string) => void,
): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder();
  let rest = '';
  let isSkipping = false;
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    const firstEnd = text.indexOf('\n');
    if (firstEnd < 0) {
      if (!isSkipping) rest += text;
      if (rest.length > MAX_LINE) {
        onFault('line-too-long');
        isSkipping = true;
        rest = '';
      }
      continue;
    }
    const lines = (rest + text).split('\n');
    if (isSkipping) lines.shift();
    isSkipping = false;
    rest = lines.pop() ?? '';
    yield lines.filter((line) => isShort(line, onFault)).map(withoutReturn);
  }
  rest += decoder.decode();
  if (rest !== '' && !isSkipping && isShort(rest, onFault)) yield [withoutReturn(rest)];
}

function isShort(line: string, onFault: (code: string) => void): boolean {
  if (line.length <= MAX_LINE) return true;
  onFault('line-too-long');
  return false;
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
