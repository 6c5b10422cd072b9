import type { TextTransform } from './schema-limits.ts';

/** Forty of the commonest pairs of neighbouring letters in English running text. */
const COMMON_BIGRAMS = new Set(
  (
    'th he in er an re on at en nd ti es or te of ed is it al ar ' +
    'st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea'
  ).split(' '),
);

/**
 * One number from the form of a domain name. The name is lowercased and a final dot is cut; the registered
 * label is taken to be the longest one before the last, which needs no list of public suffixes. An empty text
 * gives 0 everywhere.
 */
export function deriveFromText(text: string, transform: TextTransform): number {
  const name = (text.endsWith('.') ? text.slice(0, -1) : text).toLowerCase();
  const labels = name.split('.');
  switch (transform) {
    case 'length':
      return name.length;
    case 'label-count':
      return name === '' ? 0 : labels.length;
    case 'longest-label-length':
      return longest(labels).length;
    case 'suffix-length':
      return labels.length < 2 ? 0 : (labels.at(-1) ?? '').length;
    case 'registered-length':
      return registered(labels).length;
    case 'shannon-entropy':
      return entropy(registered(labels));
    case 'distinct-ratio':
      return share(new Set(registered(labels)).size, registered(labels).length);
    case 'digit-ratio':
      return share(count(registered(labels), isDigit), registered(labels).length);
    case 'hyphen-ratio':
      return share(
        count(registered(labels), (c) => c === 45 || c === 95),
        registered(labels).length,
      );
    case 'vowel-ratio':
      return share(count(registered(labels), isVowel), count(registered(labels), isLetter));
    case 'max-consonant-run':
      return longestRun(registered(labels), (c) => isLetter(c) && !isVowel(c));
    case 'max-digit-run':
      return longestRun(registered(labels), isDigit);
    case 'letter-digit-changes':
      return changes(registered(labels));
    default:
      transform satisfies 'common-bigram-ratio';
      return commonBigrams(registered(labels));
  }
}

function registered(labels: readonly string[]): string {
  return labels.length < 2 ? (labels[0] ?? '') : longest(labels.slice(0, -1));
}

function longest(labels: readonly string[]): string {
  return labels.reduce((best, label) => (label.length > best.length ? label : best), '');
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isLetter(code: number): boolean {
  return code >= 97 && code <= 122;
}

function isVowel(code: number): boolean {
  return code === 97 || code === 101 || code === 105 || code === 111 || code === 117;
}

function count(text: string, matches: (code: number) => boolean): number {
  let n = 0;
  for (let i = 0; i < text.length; i++) if (matches(text.charCodeAt(i))) n++;
  return n;
}

function longestRun(text: string, matches: (code: number) => boolean): number {
  let best = 0;
  let run = 0;
  for (let i = 0; i < text.length; i++) {
    run = matches(text.charCodeAt(i)) ? run + 1 : 0;
    if (run > best) best = run;
  }
  return best;
}

function changes(text: string): number {
  let n = 0;
  for (let i = 1; i < text.length; i++) {
    const before = text.charCodeAt(i - 1);
    const here = text.charCodeAt(i);
    if ((isDigit(before) && isLetter(here)) || (isLetter(before) && isDigit(here))) n++;
  }
  return n;
}

/** Bits per character: -sum p log2 p. */
function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const n of counts.values()) bits -= (n / text.length) * Math.log2(n / text.length);
  return bits;
}

function commonBigrams(text: string): number {
  let pairs = 0;
  let common = 0;
  for (let i = 1; i < text.length; i++) {
    if (!isLetter(text.charCodeAt(i - 1)) || !isLetter(text.charCodeAt(i))) continue;
    pairs++;
    if (COMMON_BIGRAMS.has(text.slice(i - 1, i + 1))) common++;
  }
  return share(common, pairs);
}
