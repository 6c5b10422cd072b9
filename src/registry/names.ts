import type { Digest, Milliseconds } from '../base/index.ts';
import { RegistryError } from './errors.ts';

/** What a reference such as `flow@champion`, `flow@1.2.0` or `flow` (its champion) asks for. */
export type Reference =
  | { readonly name: string; readonly version: string }
  | { readonly name: string; readonly alias: string };

/** Model names and aliases. */
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
/** Semantic versions without pre-release or build parts. */
const SEMANTIC = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;
/** `20261123-041325-123`, UTC to the millisecond. */
const TIMESTAMP = /^\d{8}-\d{6}-\d{3}$/;
/** The digest of the weights. Longer than any alias, so that no alias reads like one. */
const CONTENT = /^sha256-[0-9a-f]{64}$/;

/** Every form a version has; none of them is a name. */
export const VERSION_FORM = new RegExp(
  [SEMANTIC, TIMESTAMP, CONTENT].map(({ source }) => `(?:${source})`).join('|'),
);

/** How a version gets its name where none is given. */
export type VersioningStrategy = 'semver' | 'timestamp' | 'digest';

export const DEFAULT_ALIAS = 'champion';

export function isName(text: string): boolean {
  return NAME.test(text);
}

export function isVersion(text: string): boolean {
  return VERSION_FORM.test(text);
}

/** Throws `registry.name-invalid`. */
export function checkName(text: string, what: 'model name' | 'alias'): void {
  if (!isName(text)) {
    throw invalid(`expected a ${what} of lowercase letters, digits and dashes, got ${quote(text)}`);
  }
}

/** Throws `registry.name-invalid`. */
export function checkVersion(text: string): void {
  if (!isVersion(text)) throw invalid(`expected a version such as 1.2.0, got ${quote(text)}`);
}

/** Throws `registry.name-invalid`. */
export function parseReference(text: string): Reference {
  const [name = '', target = DEFAULT_ALIAS, ...rest] = text.split('@');
  if (rest.length > 0 || !isName(name)) {
    throw invalid(`expected name, name@version or name@alias, got ${quote(text)}`);
  }
  if (isVersion(target)) return { name, version: target };
  if (isName(target)) return { name, alias: target };
  throw invalid(`expected a version or an alias behind the @, got ${quote(text)}`);
}

/** Negative where `a` is older: semantic versions by their numbers, all others as text, behind them. */
export function compareVersions(a: string, b: string): number {
  const semantic = [SEMANTIC.test(a), SEMANTIC.test(b)];
  if (!semantic[0] || !semantic[1]) {
    if (semantic[0] !== semantic[1]) return semantic[0] ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `1.0.0` for the first, else the next minor version after the newest semantic one. */
export function nextVersion(versions: Iterable<string>): string {
  let newest: string | undefined;
  for (const version of versions) {
    if (SEMANTIC.test(version) && (newest === undefined || compareVersions(version, newest) > 0)) {
      newest = version;
    }
  }
  if (newest === undefined) return '1.0.0';
  const [major = 0, minor = 0] = newest.split('.').map(Number);
  return `${major}.${minor + 1}.0`;
}

/** The version that a strategy gives new weights; a time that is taken already moves on by a millisecond. */
export function strategyVersion(
  strategy: VersioningStrategy,
  asked: { readonly taken: ReadonlySet<string>; readonly digest: Digest; readonly now: Milliseconds },
): string {
  switch (strategy) {
    case 'semver':
      return nextVersion(asked.taken);
    case 'timestamp': {
      let time = asked.now;
      while (asked.taken.has(timestampVersion(time))) time++;
      return timestampVersion(time);
    }
    case 'digest':
      return contentVersion(asked.digest);
    default:
      return strategy satisfies never;
  }
}

/** The version that is the content's digest. */
export function contentVersion(digest: Digest): string {
  return digest.replace(':', '-');
}

/** Whether a version claims to be its content's digest. */
export function isContentVersion(text: string): boolean {
  return CONTENT.test(text);
}

function timestampVersion(time: Milliseconds): string {
  const digits = new Date(time).toISOString().replace(/\D/g, '');
  return `${digits.slice(0, 8)}-${digits.slice(8, 14)}-${digits.slice(14, 17)}`;
}

function invalid(message: string): RegistryError {
  return new RegistryError('registry.name-invalid', message);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 140));
}
