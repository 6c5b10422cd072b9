import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { Command } from 'commander';
import { openApiDocument } from '../server/index.ts';
import type { Registrar } from './registrar.ts';

/** Source files of commands that ask no route for some of their work, and why that needs no role. */
const LOCAL: Readonly<Record<string, string>> = {
  'config.ts': 'reads the configuration of this very process',
  'demo.ts': 'owns the state it makes: only who may open the folder gets that far',
  'doctor.ts': 'looks at this machine, and changes nothing',
  'extract.ts': 'turns a file of the user into a file of the user',
  'lab.ts': 'makes traffic into a file of the user',
  'serve.ts': 'owns the state: only who may open the folder gets that far',
  'training-workers.ts': 'works for a coordinator on a bus, and has no state',
};

const FOLDER = new URL('./', import.meta.url);
/** A call with its method, in the words that the commands use for it. */
const CALL = /\bcall\(\s*'(GET|POST|DELETE)',\s*(modelRoute\([^,()]+,\s*)?([`'])(.*?)\3/gs;

/** Leaf commands of a source file, as `models promote`. */
async function commandsOf(file: string): Promise<readonly string[]> {
  const module: Readonly<Record<string, unknown>> = await import(new URL(file, FOLDER).href);
  const program = new Command('guardian');
  const work: Registrar['action'] = () => async () => {};
  // Parts of a group take the registrar, or only its action.
  const action = Object.assign(work, { program, action: work });
  for (const [name, value] of Object.entries(module)) {
    if (!/^register[A-Z]/.test(name) || typeof value !== 'function') continue;
    if (value.length === 1) value({ program, action });
    else value(program, action);
  }
  const leaves = (command: Command, path: readonly string[]): string[] =>
    command.commands.length === 0
      ? [path.join(' ')]
      : command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
  return program.commands.length === 0 ? [] : leaves(program, []);
}

/** Every route that the text of a file calls: `GET /v1/models/x`. */
function callsOf(source: string): readonly string[] {
  return [...source.matchAll(CALL)].map(([, method, model, , text = '']) => {
    const path = text.replaceAll(/(?<=\/)\$\{[^}]*\}/g, 'x').replaceAll(/\$\{[^}]*\}/g, '');
    return `${method} ${model === undefined ? '' : '/v1/models/x'}${path.split('?')[0]}`;
  });
}

suite('every command', () => {
  test('reaches routes of the table alone, or is named here as local', async () => {
    const patterns = Object.entries(openApiDocument().paths).flatMap(([path, operations]) =>
      Object.keys(operations).map(
        (method) => new RegExp(`^${method.toUpperCase()} ${path.replaceAll(/\{[a-z]+\}/g, '[^/]+')}$`),
      ),
    );
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
    let commands = 0;
    let calls = 0;
    for (const file of files) {
      const source = readFileSync(new URL(file, FOLDER), 'utf8');
      for (const call of callsOf(source)) {
        calls++;
        assert.ok(
          patterns.some((pattern) => pattern.test(call)),
          `${file}: ${call} is not in the table of routes`,
        );
      }
      if (!/^export function register[A-Z]/m.test(source)) continue;
      const found = await commandsOf(file);
      assert.ok(found.length > 0, file);
      commands += found.length;
      const asksRoutes =
        /\b(withSession|openSession|fetchVerified|judgeAdopted)\(/.test(source) &&
        !/\bopenOwnGuardian\(/.test(source);
      assert.equal(asksRoutes, LOCAL[file] === undefined, `${file}: ${found.join(', ')}`);
    }
    assert.ok(commands >= 20 && calls >= 15, `read ${commands} commands and ${calls} calls`);
  });
});
