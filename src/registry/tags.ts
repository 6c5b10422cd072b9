import { audited } from '../audit/index.ts';
import type { Actor, RegistryContext } from './context.ts';
import { TAG } from './custody-index.ts';
import { RegistryError } from './errors.ts';
import { isName } from './names.ts';
import { findPublication } from './version-files.ts';

/** Letters, digits, punctuation, symbols and single plain spaces; no control, format or private characters. */
const VALUE = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]+(?: [\p{L}\p{M}\p{N}\p{P}\p{S}]+)*$/u;
const MAX_VALUE_LENGTH = 256;
const MAX_TAGS = 64;

/**
 * Sets tags of a version, or takes them away where the value is null; each is an audited change of its own.
 * Throws `registry.tag-invalid`, `registry.version-unknown`.
 */
export async function setTags(
  context: RegistryContext,
  target: { readonly name: string; readonly version: string },
  tags: Readonly<Record<string, string | null>>,
  by: Actor,
): Promise<Readonly<Record<string, string>>> {
  const { name, version } = target;
  await findPublication(context, name, version);
  const entries = Object.entries(tags);
  // Each is two synced entries of the log while other changes wait.
  if (entries.length > MAX_TAGS) throw tooMany();
  for (const [key, value] of entries) checkTag(key, value);
  const after = { ...context.index.custody.tags(name, version), ...tags };
  if (Object.values(after).filter((value) => value !== null).length > MAX_TAGS) {
    throw tooMany();
  }
  for (const [key, value] of entries) {
    const detail = { key, value };
    const input = { action: TAG, principal: by.principal, subject: `${name}@${version}`, detail };
    // The log is the one record of a tag: there is nothing else to write between intent and outcome.
    await audited(context.log, input, async () => {});
  }
  await context.index.catchUp();
  return context.index.custody.tags(name, version);
}

/** Splits `key=value`; the value may hold further equals signs. Throws `registry.tag-invalid`. */
export function parseTag(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=');
  const key = at < 0 ? text : text.slice(0, at);
  const value = at < 0 ? '' : text.slice(at + 1);
  checkTag(key, value);
  return [key, value];
}

function tooMany(): RegistryError {
  return new RegistryError('registry.tag-invalid', `a version has at most ${MAX_TAGS} tags`);
}

function checkTag(key: string, value: string | null): void {
  if (!isName(key)) {
    throw new RegistryError(
      'registry.tag-invalid',
      'expected a tag name of lowercase letters, digits and dashes, a letter first, at most 63',
    );
  }
  if (value === null) return;
  if (value.length > MAX_VALUE_LENGTH || value.normalize('NFC') !== value || !VALUE.test(value)) {
    throw new RegistryError(
      'registry.tag-invalid',
      `expected 1 to ${MAX_VALUE_LENGTH} printable characters (NFC) as the value of ${key}`,
    );
  }
}
