import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AUDITABLE_ACTIONS, type AuditableAction, auditCoverage, NOT_AUDITABLE } from '../src/audit/index.ts';
import { ROUTE_KEYS } from '../src/server/routes.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const actions: Readonly<Record<string, AuditableAction>> = AUDITABLE_ACTIONS;

/** Methods that read, or end the thing itself; whatever else a type has is taken to change something. */
const READERS: Readonly<Record<string, readonly string[]>> = {
  KeyStore: ['list', 'active', 'find', 'close'],
  Registry: [
    ...[
      'gateData',
      'certificate',
      'history',
      'servedAt',
      'list',
      'show',
      'resolve',
      'verify',
      'verifyExport',
    ],
    // Its methods are held to the table one by one.
    'custody',
  ],
  Custody: ['constructor', 'stateOf', 'lineage', 'bom', 'card'],
};

suite('the table of auditable actions', () => {
  test('holds every action that the code appends, and none that it does not', () => {
    const appended = new Map<string, string>();
    for (const { path, text } of sources()) for (const action of actionsIn(text)) appended.set(action, path);
    for (const [action, path] of appended) assert.ok(Object.hasOwn(actions, action), `${action} of ${path}`);
    for (const action of Object.keys(actions))
      assert.ok(appended.has(action), `${action} is appended nowhere`);
    assert.deepEqual(auditCoverage(), { audited: appended.size, auditable: appended.size, share: 1 });
  });

  test('leads from every method and route that changes something to an action', () => {
    const found = [
      ...members('src/crypto/key-store.ts', 'KeyStore'),
      ...members('src/registry/registry.ts', 'Registry'),
      ...members('src/registry/custody.ts', 'Custody'),
      ...ROUTE_KEYS.filter((key) => !key.startsWith('GET ')),
    ];
    const told = new Set<string>(Object.values(actions).flatMap(({ from }) => from));
    const exempt: readonly string[] = NOT_AUDITABLE;
    for (const each of found)
      assert.ok(told.has(each) !== exempt.includes(each), `${each} leads to no action`);
    for (const each of [...told, ...exempt]) {
      assert.ok(
        found.includes(each) || ['start', 'denial', 'live'].includes(each),
        `${each} is not in the code`,
      );
    }
  });

  test('sees an action in each of the forms that the code has', () => {
    assert.deepEqual(actionsIn("append({ action: 'a.b-c' })"), ['a.b-c']);
    assert.deepEqual(actionsIn("export const NAME = 'a.b';"), ['a.b']);
    assert.deepEqual(actionsIn("this.#audited('key.sign', x)"), ['key.sign']);
    assert.deepEqual(actionsIn("throw new E('a.b', 'x'); const FILE = 'model.sig';"), []);
  });
});

function sources(): { readonly path: string; readonly text: string }[] {
  return globSync('src/**/*.ts', { cwd: ROOT })
    .filter((path) => !path.endsWith('.test.ts') && !path.startsWith(join('src', 'cli')))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

/** Literals in the place of an action, and the exported constants that rooms name theirs with; names of files and keys on a bus are none. */
function actionsIn(text: string): string[] {
  const forms = [
    /\baction: '([a-z]+\.[a-z-]+)'/g,
    /#audited\(\s*'([a-z]+\.[a-z-]+)'/g,
    /export const (?![A-Z_]*(?:FILE|PREFIX|TOPIC|KEY)\b)[A-Z_]+ = '([a-z]+\.[a-z-]+)';/g,
  ];
  return forms.flatMap((form) => [...text.matchAll(form)].map(([, action]) => action ?? ''));
}

/** The members of an interface or class that change something, as `Type.member`. */
function members(path: string, type: string): string[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const [, body = ''] =
    new RegExp(`(?:interface|class) ${type}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(text) ?? [];
  const names = [...body.matchAll(/^ {2}(?:readonly |async )?([a-z][A-Za-z]*)\b(?=[(:<])/gm)].map(
    ([, name]) => name ?? '',
  );
  assert.ok(names.length > 2, `read ${names.length} members of ${type}`);
  const readers = ['kind', ...(READERS[type] ?? [])];
  const fields = [...body.matchAll(/^ {2}readonly ([a-z]\w*):/gm)].map(([, name]) => name ?? '');
  return names
    .filter((name) => !readers.includes(name) && !fields.includes(name))
    .map((name) => `${type}.${name}`);
}
