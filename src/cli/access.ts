import type { Context } from './context.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

interface AccessKey {
  readonly id: string;
  readonly label: string;
  readonly roles: readonly string[];
  readonly expiresAt: string | null;
  readonly revoked: boolean;
}

export function registerAccess({ program, action }: Registrar): void {
  const access = program
    .command('access')
    .description('People and machines that may call the server, and their roles.');
  access
    .command('list')
    .description('Lists the API keys; their secrets are not kept anywhere.')
    .action(action(list));
  access
    .command('add')
    .description('Makes an API key and prints it once.')
    .argument('<label>', 'whose it is')
    .requiredOption('--role <role...>', 'viewer, submitter, approver, operator, auditor or admin')
    .option('--days <n>', 'days until it expires', parseWhole(1, 3650), 90)
    .addHelpText('after', '\nExample:\n  guardian access add grafana --role viewer --days 365')
    .action(action<{ role: string[]; days: number }>(add));
  access
    .command('revoke')
    .description('Ends an API key at once.')
    .argument('<id>', 'the id that `guardian access list` shows')
    .action(action(revoke));
}

async function list(context: Context): Promise<undefined> {
  const { keys } = await withSession(
    context,
    async ({ api }) => (await api.call('GET', '/v1/access')) as { keys: readonly AccessKey[] },
  );
  context.output.line(
    table(
      ['id', 'label', 'roles', 'expires', 'state'],
      keys.map((key) => [
        key.id,
        printable(key.label),
        key.roles.join(' '),
        key.expiresAt ?? 'never',
        key.revoked ? 'revoked' : 'good',
      ]),
    ),
  );
  context.output.object({ type: 'access.result', keys });
  return undefined;
}

async function add(
  context: Context,
  options: { role: string[]; days: number },
  label?: string,
): Promise<undefined> {
  const made = await withSession(
    context,
    async ({ api }) =>
      (await api.call('POST', '/v1/access', { label, roles: options.role, days: options.days })) as {
        id: string;
        key: string;
      },
  );
  context.output.line(`${made.key}`);
  context.output.note('This key is shown once. Only its digest is kept.');
  context.output.object({ type: 'access.add.result', ...made });
  return undefined;
}

async function revoke(context: Context, _: unknown, id?: string): Promise<undefined> {
  await withSession(context, ({ api }) => api.call('DELETE', `/v1/access/${encodeURIComponent(id ?? '')}`));
  context.output.line(`${printable(id ?? '')} is revoked`);
  context.output.object({ type: 'access.revoke.result', id });
  return undefined;
}
