import { CliError } from './errors.ts';
import { printable } from './text.ts';

/** Splits `flow@champion` into its parts; without an @ the champion is meant. */
export function splitReference(reference = ''): { name: string; at: string } {
  const [name = '', at = 'champion', ...rest] = reference.split('@');
  if (name === '' || at === '' || rest.length > 0) {
    throw new CliError(
      'cli.usage',
      `expected a reference such as flow@champion, got ${printable(reference)}`,
    );
  }
  return { name, at };
}

/** The same where the version must be named. */
export function splitVersion(reference: string | undefined, verb: string): { name: string; version: string } {
  const { name, at } = splitReference(reference);
  if (reference?.includes('@') !== true) {
    throw new CliError('cli.usage', `expected the version to ${verb}, such as flow@1.2.0`);
  }
  return { name, version: at };
}

/** The route of a model. */
export function modelRoute(name: string, rest = ''): string {
  return `/v1/models/${encodeURIComponent(name)}${rest}`;
}
