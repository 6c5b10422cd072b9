import { UpdateError } from './errors.ts';

/** Longest path of a target, in characters. */
const MAX_LENGTH = 512;
/** Segments that every file system and every URL takes as they are. */
const PLAIN_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Whether a target's path stays below any folder it is joined to, whatever reads it: relative, no empty, `.` or `..`
 * segment, no backslash, percent sign, colon or control character, nothing that a look-alike could stand for.
 */
export function isTargetName(name: string): boolean {
  return name.length <= MAX_LENGTH && name.split('/').every((segment) => isSegment(segment));
}

/** Whether a path is made of letters, digits, dots, dashes and underscores alone, as all of ours are. */
export function isPlainName(name: string): boolean {
  return name.length <= MAX_LENGTH && name.split('/').every((segment) => PLAIN_SEGMENT.test(segment));
}

/** Throws `registry.update-target-refused`. */
export function checkTargetName(name: string): void {
  if (isTargetName(name)) return;
  throw new UpdateError(
    'registry.update-target-refused',
    `expected a plain relative target name, got ${JSON.stringify(name.slice(0, 80))}`,
  );
}

/** The URL of a path below a base; each segment is escaped, none is interpreted. */
export function urlBelow(base: string, name: string): string {
  const path = name.split('/').map(encodeURIComponent).join('/');
  return `${base.replace(/\/+$/, '')}/${path}`;
}

function isSegment(segment: string): boolean {
  if (segment === '' || segment === '.' || segment === '..') return false;
  // NFKC folds full-width dots and slashes onto the ones refused here.
  const folded = segment.normalize('NFKC');
  return ![...segment, ...folded].some(isForbidden) && !/^\.{1,2}$/.test(folded) && folded.isWellFormed();
}

function isForbidden(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || '/\\%:'.includes(character);
}
