import { globSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ErrorCatalogue } from '../../src/base/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One `*_ERRORS` table of the product, with the room it stands in. */
export interface FoundCatalogue {
  readonly room: string;
  readonly name: string;
  readonly entries: ErrorCatalogue;
}

/** Imports every errors.ts under src and returns their tables, in the order of the paths. */
export async function loadErrorCatalogues(): Promise<FoundCatalogue[]> {
  const found: FoundCatalogue[] = [];
  for (const path of globSync('src/**/errors.ts', { cwd: ROOT }).sort()) {
    const module: Record<string, unknown> = await import(pathToFileURL(join(ROOT, path)).href);
    const room = dirname(path).split(sep)[1] ?? '';
    for (const [name, value] of Object.entries(module)) {
      if (name.endsWith('_ERRORS')) found.push({ room, name, entries: value as ErrorCatalogue });
    }
  }
  return found;
}

/** What is wrong with the tables, a sentence a finding: a code given twice, or one that does not name its room. */
export function findCodeViolations(catalogues: readonly FoundCatalogue[]): string[] {
  const findings: string[] = [];
  const owners = new Map<string, string>();
  for (const { room, name, entries } of catalogues) {
    for (const [code, { says }] of Object.entries(entries)) {
      const owner = owners.get(code);
      if (owner !== undefined) findings.push(`${code} stands in ${owner} and in ${name}`);
      owners.set(code, name);
      if (!code.startsWith(`${room}.`)) findings.push(`${code} in ${name} does not begin with ${room}.`);
      if (says.trim() === '' || /[|\n]/.test(says))
        findings.push(`${code} in ${name} has no sentence fit for a table`);
    }
  }
  return findings;
}

/** The document docs/errors.md, rendered from the tables. */
export function renderErrorsDocument(catalogues: readonly FoundCatalogue[]): string {
  const rows = catalogues
    .flatMap(({ entries }) => Object.entries(entries))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { category, retry, says }]) =>
        `| \`${code}\` | ${category} | ${retry ? 'yes' : 'no'} | ${says} |`,
    );
  return [
    '# Errors',
    '',
    'Every error carries a stable code. Its category and code label the metrics and decide the HTTP and gRPC',
    'status; "retry" says whether the same call may succeed later. Written by `npm run docs` from the tables',
    'in `src/*/errors.ts`.',
    '',
    '| code | category | retry | what it says |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
