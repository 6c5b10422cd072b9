import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import {
  type FoundCatalogue,
  findCodeViolations,
  loadErrorCatalogues,
  renderErrorsDocument,
} from './support/error-catalogues.ts';

suite('the error codes', () => {
  test('are unique over the product and begin with their room', async () => {
    const catalogues = await loadErrorCatalogues();
    assert.ok(catalogues.length > 0, 'found no table of errors');
    assert.deepEqual(findCodeViolations(catalogues), []);
  });

  test('are documented in docs/errors.md; `npm run docs` writes it anew', async () => {
    const document = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
    const rendered = renderErrorsDocument(await loadErrorCatalogues()).split('\n');
    const written = new Set(document.split('\n'));
    const missing = rendered.filter((line) => !written.has(line));
    assert.deepEqual(missing, [], 'lines are missing from docs/errors.md: run `npm run docs`');
    assert.ok(
      document === rendered.join('\n'),
      'docs/errors.md holds more than the tables: run `npm run docs`',
    );
  });
});

suite('the check of the error codes', () => {
  const entry = { category: 'model', retry: false, says: 'Something happened.' } as const;
  const sound: FoundCatalogue = { room: 'base', name: 'BASE_ERRORS', entries: { 'base.one': entry } };

  test('finds nothing in sound tables', () => {
    assert.deepEqual(findCodeViolations([sound]), []);
  });

  test('finds a code given twice', () => {
    const again = { ...sound, name: 'MORE_ERRORS' };
    assert.deepEqual(findCodeViolations([sound, again]), [
      'base.one stands in BASE_ERRORS and in MORE_ERRORS',
    ]);
  });

  test('finds a code that names another room', () => {
    const foreign = { ...sound, room: 'audit' };
    assert.deepEqual(findCodeViolations([foreign]), ['base.one in BASE_ERRORS does not begin with audit.']);
  });

  test('finds a sentence that would break the table', () => {
    const broken = { ...sound, entries: { 'base.one': { ...entry, says: 'a | b' } } };
    assert.deepEqual(findCodeViolations([broken]), [
      'base.one in BASE_ERRORS has no sentence fit for a table',
    ]);
  });

  test('renders a line a code', () => {
    assert.match(
      renderErrorsDocument([sound]),
      /^\| `base\.one` \| model \| no \| Something happened\. \|$/m,
    );
  });
});
