import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

interface Grant {
  readonly id: string;
  readonly roles: readonly string[];
  readonly expiresAt: string | null;
  readonly revoked: boolean;
}

interface AccessList {
  readonly keys: readonly (Grant & { readonly label: string })[];
  readonly certificates: readonly (Grant & { readonly certificate: string })[];
}

interface AddOptions {
  readonly role: readonly string[];
  readonly days: number;
  readonly certificate?: string;
}

export function registerAccess({ program, action }: Registrar): void {
  const access = program
    .command('access')
    .description('People and machines that may call the server, and their roles.');
  access
    .command('list')
    .description('Lists API keys and certificates; secrets of keys are not kept anywhere.')
    .action(action(list));
  access
    .command('add')
    .description('Makes an API key and prints it once, or gives roles to a client certificate.')
    .argument('[label]', 'whose key it is')
    .requiredOption('--role <role...>', 'viewer, submitter, approver, operator, auditor or admin')
    .option(
      '--certificate <name>',
      'instead of a key: the common name or SHA-256 fingerprint of a certificate',
    )
    .option('--days <n>', 'days until it expires', parseWhole(1, 3650), 90)
    .addHelpText(
      'after',
      `
Examples:
  guardian access add grafana --role viewer --days 365
  guardian access add --certificate sensor-7.example.org --role submitter`,
    )
    .action(action<AddOptions>(add));
  access
    .command('revoke')
    .description('Ends an API key, or the roles of a certificate, at once.')
    .argument('<id>', 'the id that `guardian access list` shows')
    .action(action(revoke));
}

async function list(context: Context): Promise<undefined> {
  const { keys, certificates } = (await withSession(context, ({ api }) =>
    api.call('GET', '/v1/access'),
  )) as AccessList;
  const row = (kind: string, name: string, { id, roles, expiresAt, revoked }: Grant) => {
    const isOver = expiresAt !== null && Date.parse(expiresAt) <= context.clock.now();
    const state = revoked ? 'revoked' : isOver ? 'expired' : 'good';
    return [id, kind, printable(name), roles.join(' '), expiresAt ?? 'never', state];
  };
  context.output.line(
    table(
      ['id', 'kind', 'name', 'roles', 'expires', 'state'],
      [
        ...keys.map((key) => row('key', key.label, key)),
        ...certificates.map((each) => row('certificate', each.certificate, each)),
      ],
    ),
  );
  context.output.object({ type: 'access.result', keys, certificates });
  return undefined;
}

async function add(context: Context, options: AddOptions, label?: string): Promise<undefined> {
  const { role: roles, days, certificate } = options;
  if ((label === undefined) === (certificate === undefined)) {
    throw new CliError('cli.usage', 'expected a label for a key, or --certificate, and not both');
  }
  if (certificate !== undefined) {
    const given = (await withSession(context, ({ api }) =>
      api.call('POST', '/v1/access/certificates', { certificate, roles, days }),
    )) as { id: string; certificate: string };
    context.output.line(`${given.id}  ${printable(given.certificate)}: ${roles.join(' ')}`);
    context.output.object({ type: 'access.add.result', ...given });
    return undefined;
  }
  const made = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/access', { label, roles, days }),
  )) as { id: string; key: string };
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
