import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findViolations, readImports } from './support/architecture.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

suite('the house', () => {
  test('has imports that go strictly downwards, through index.ts, without cycles', () => {
    const files = readTree();
    const known = listKnownFiles();
    assert.ok(files.size >= known.length, `read ${files.size} files of ${known.length}`);
    assert.deepEqual(findViolations(files), []);
  });
});

suite('the check of the house', () => {
  const base = {
    'src/base/index.ts': "export { a } from './a.ts';\n",
    'src/base/a.ts': 'export const a = 1;\n',
  };
  const wrong: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    [
      'an import upwards',
      {
        'src/base/b.ts': "import { k } from '../crypto/index.ts';\n",
        'src/crypto/index.ts': "export { k } from './k.ts';\n",
        'src/crypto/k.ts': 'export const k = 1;\n',
      },
      /^src\/base\/b\.ts: floor 0 \(base\) imports floor 1 \(crypto\)$/,
    ],
    [
      'an import along a floor',
      {
        'src/audit/b.ts': "import type { S } from '../storage/index.ts';\n",
        'src/storage/index.ts': "export type { S } from './s.ts';\n",
        'src/storage/s.ts': 'export type S = 1;\n',
      },
      /floor 2 \(audit\) imports floor 2 \(storage\)/,
    ],
    [
      'an import past the index',
      { 'src/crypto/b.ts': "import { a } from '../base/a.ts';\n" },
      /imports src\/base\/a\.ts instead of src\/base\/index\.ts/,
    ],
    [
      'a dynamic import past the index',
      { 'src/crypto/b.ts': "export const load = () => import('../base/a.ts');\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'a type import past the index',
      { 'src/crypto/b.ts': "export type A = import('../base/a.ts').A;\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'a re-export past the index',
      { 'src/crypto/index.ts': "export { a } from '../base/a.ts';\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'a worker past the index',
      { 'src/crypto/b.ts': "export const url = new URL('../base/a.ts', import.meta.url);\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'an import over several lines',
      { 'src/crypto/b.ts': "import {\n  a, // why\n  b,\n} from '../base/a.ts';\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'an import for its effect',
      { 'src/crypto/b.ts': "import '../base/a.ts';\n" },
      /instead of src\/base\/index\.ts/,
    ],
    [
      'a cycle between files',
      {
        'src/base/x.ts': "import { y } from './y.ts';\nexport const x = y;\n",
        'src/base/y.ts': "import { x } from './x.ts';\nexport const y = x;\n",
      },
      /^cycle: src\/base\/x\.ts -> src\/base\/y\.ts -> src\/base\/x\.ts$/,
    ],
    [
      'an import of test code',
      { 'src/base/b.ts': "import { s } from '../../test/support/seed.ts';\n" },
      /which is not part of the product/,
    ],
    [
      'an import of bench code, also from a test',
      { 'src/base/b.test.ts': "import { s } from '../../bench/flows.ts';\n" },
      /which is not part of the product/,
    ],
    [
      'a test that reaches upwards',
      { 'src/base/b.test.ts': "import { main } from '../cli/index.ts';\n" },
      /floor 0 \(base\) imports floor 9 \(cli\)/,
    ],
    [
      'a package in client',
      { 'src/client/b.ts': "import { z } from 'zod';\n" },
      /client imports nothing, but zod/,
    ],
    [
      'a room below in client',
      { 'src/client/b.ts': "import { a } from '../base/index.ts';\n" },
      /floor 0 \(client\) imports floor 0 \(base\)/,
    ],
    [
      'an index with code',
      { 'src/crypto/index.ts': 'export const a = 1;\n' },
      /an index\.ts only re-exports, by name/,
    ],
    [
      'an index with a star',
      { 'src/crypto/index.ts': "export * from './k.ts';\n", 'src/crypto/k.ts': 'export const k = 1;\n' },
      /an index\.ts only re-exports, by name/,
    ],
    ['an unknown room', { 'src/helpers/a.ts': 'export const a = 1;\n' }, /helpers is not in the table/],
    ['a stray file in src', { 'src/stray.ts': 'export const a = 1;\n' }, /stray\.ts is not in the table/],
    [
      'a room that imports the guardian from below',
      {
        'src/alerts/a.ts': "import { g } from '../guardian/index.ts';\n",
        'src/guardian/index.ts': "export { g } from './g.ts';\n",
        'src/guardian/g.ts': 'export const g = 1;\n',
      },
      /floor 5 \(alerts\) imports floor 7 \(guardian\)/,
    ],
    ['a missing file', { 'src/base/b.ts': "import { c } from './c.ts';\n" }, /which does not exist/],
    ['an import it cannot read', { 'src/base/b.ts': 'import strange;\n' }, /read 0 of 1 import statements/],
  ];

  for (const [name, files, expected] of wrong) {
    test(`finds ${name}`, () => {
      const findings = findViolations(new Map(Object.entries({ ...base, ...files })));
      assert.equal(findings.length, 1, findings.join('\n'));
      assert.match(findings[0] ?? '', expected);
    });
  }

  test('finds nothing in a sound tree', () => {
    const files = {
      ...base,
      'src/crypto/index.ts':
        "/** Keys. */\nexport type { K } from './k.ts';\nexport {\n  k,\n} from './k.ts';\n",
      'src/crypto/k.ts': "import { createHash } from 'node:crypto';\nimport { a } from '../base/index.ts';\n",
      'src/crypto/k.test.ts':
        "import { s } from '../../test/support/seed.ts';\nimport { k } from './k.ts';\n",
      'src/guardian/index.ts': "export { guardian } from './guardian.ts';\n",
      'src/guardian/guardian.ts': "import { k } from '../crypto/index.ts';\n",
      'src/cli/main.ts':
        "// import { a } from '../base/a.ts';\nimport { guardian } from '../guardian/index.ts';\n",
    };
    assert.deepEqual(findViolations(new Map(Object.entries(files))), []);
  });

  test('reads every form of import', () => {
    const source = [
      "import a from 'a';",
      "import type { B } from 'b';",
      "import * as c from 'c';",
      "import 'd';",
      "export { e } from 'e';",
      "export * as f from 'f';",
      "const g = await import('g');",
      'console.log(import.meta.url);',
      "export const from = 'nowhere';",
    ].join('\n');
    assert.deepEqual(
      readImports(source).map(({ specifier }) => specifier),
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'],
    );
  });
});

function readTree(): Map<string, string> {
  const src = join(ROOT, 'src');
  if (!existsSync(src)) return new Map();
  const paths = readdirSync(src, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join('/'));
  return new Map(paths.sort().map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]));
}

/** What git knows of src, counted independently of the walk above; outside a checkout, a second way to walk. */
function listKnownFiles(): string[] {
  try {
    const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z', 'src'];
    const listed = execFileSync('git', args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return listed.split('\0').filter((path) => path.endsWith('.ts') && existsSync(join(ROOT, path)));
  } catch {
    return globSync('src/**/*.ts', { cwd: ROOT });
  }
}
