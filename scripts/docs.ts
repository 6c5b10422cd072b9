import { mkdirSync, writeFileSync } from 'node:fs';
import { openApiDocument } from '../src/server/index.ts';
import { CLIENT_TYPES, renderClientTypes } from '../test/support/client-types.ts';
import { loadErrorCatalogues, renderErrorsDocument } from '../test/support/error-catalogues.ts';

const root = new URL('../', import.meta.url);
mkdirSync(new URL('docs/', root), { recursive: true });
writeFileSync(new URL('docs/errors.md', root), renderErrorsDocument(await loadErrorCatalogues()));
writeFileSync(new URL(CLIENT_TYPES, root), renderClientTypes(openApiDocument()));
