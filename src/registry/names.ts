import { RegistryError } from './errors.ts';

/** What a reference such as `flow@champion`, `flow@1.2.0` or `flow` (its champion) asks for. */
export type Reference =
  | { readonly name: string; readonly version: string }
  | { readonly name: string; readonly alias: string };

/** Model names and aliases. */
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
/** Semantic versions without pre-release or build parts. */
const VERSION = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;

export const DEFAULT_ALIAS = 'champion';

export function isName(text: string): boolean {
  return NAME.test(text);
}

export function isVersion(text: string): boolean {
  return VERSION.test(text);
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

/** Negative where `a` is older. Both must be versions. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `1.0.0` for the first, else the next minor version after the newest. */
export function nextVersion(versions: readonly string[]): string {
  const newest = [...versions].sort(compareVersions).at(-1);
  if (newest === undefined) return '1.0.0';
  const [major = 0, minor = 0] = newest.split('.').map(Number);
  return `${major}.${minor + 1}.0`;
}

function invalid(message: string): RegistryError {
  return new RegistryError('registry.name-invalid', message);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 140));
}
