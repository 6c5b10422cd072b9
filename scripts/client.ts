import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';

/** In the order in which they build upon each other. */
const PARTS = ['errors', 'request', 'server-sent-events', 'tensors', 'watch-detections', 'client'];
const EXPORTED = ['CLIENT_ERRORS', 'GuardianClient', 'GuardianClientError'];
const root = new URL('../', import.meta.url);

/** The client as one JavaScript module: what a package's users import, and what a browser reads. */
export function clientModule(): string {
  const parts = PARTS.map((name) => {
    const source = readFileSync(new URL(`src/client/${name}.ts`, root), 'utf8');
    return stripTypeScriptTypes(source)
      .replaceAll(/^import\b[^;]*;$/gm, '')
      .replaceAll(/^export /gm, '')
      .replaceAll(/[ \t]+$/gm, '')
      .replaceAll(/\n{3,}/g, '\n\n');
  });
  return `${parts.join('\n').trim()}\n\nexport { ${EXPORTED.join(', ')} };\n`;
}

if (import.meta.main) {
  mkdirSync(new URL('dist/', root), { recursive: true });
  writeFileSync(new URL('dist/client.js', root), clientModule());
}
