import { stringify } from 'yaml';
import { variableName } from '../base/index.ts';
import type { Context } from './context.ts';
import type { Registrar } from './registrar.ts';
import { table } from './text.ts';

export function registerConfig({ program, action }: Registrar): void {
  const config = program.command('config').description('The configuration in force.');
  config
    .command('show')
    .description('Prints every value in force, where it came from, and the variable that sets it.')
    .addHelpText('after', '\nExample:\n  guardian config show --json')
    .action(action(showConfig));
}

async function showConfig(context: Context): Promise<undefined> {
  const fields = [...context.resolved.origins].map(([path, origin]) => ({
    field: path,
    value: path.split('.').reduce<unknown>(child, context.config),
    origin,
    variable: variableName(path),
  }));
  context.output.line(
    table(
      ['field', 'value', 'from', 'variable'],
      fields.map(({ field, value, origin, variable }) => [field, stringify(value).trim(), origin, variable]),
    ),
  );
  context.output.object({ type: 'config.result', fields });
  return undefined;
}

function child(node: unknown, key: string): unknown {
  return typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[key] : undefined;
}
