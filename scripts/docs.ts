import { mkdirSync, writeFileSync } from 'node:fs';
import { loadErrorCatalogues, renderErrorsDocument } from '../test/support/error-catalogues.ts';

const docs = new URL('../docs/', import.meta.url);
mkdirSync(docs, { recursive: true });
writeFileSync(new URL('errors.md', docs), renderErrorsDocument(await loadErrorCatalogues()));
