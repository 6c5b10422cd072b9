import { type Detection, formatLine, VERDICTS_OF_ANALYSTS } from '../alerts/index.ts';
import type { Context } from './context.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { printable, table } from './text.ts';

type Judged = Detection & {
  readonly judgement?: { readonly verdict: string; readonly note: string; readonly principal: string };
};

interface Accuracy {
  readonly models: readonly {
    readonly model: string;
    readonly judged: number;
    readonly true: number;
    readonly benignTrigger: number;
    readonly false: number;
    readonly precision: { readonly value: number; readonly low: number; readonly high: number };
  }[];
}

interface Rule {
  readonly id: string;
  readonly kind?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly untilMs: number;
  readonly reason: string;
  readonly active?: boolean;
}

interface AddOptions {
  readonly kind?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly hours: number;
  readonly reason: string;
}

export function registerDetections({ program, action }: Registrar): void {
  const detections = program.command('detections').description('What was found, and what people say of it.');
  detections
    .command('list')
    .description('The newest detections, a line each.')
    .option('--limit <n>', 'how many', parseWhole(1, 1_000), 50)
    .action(action<{ readonly limit: number }>(list));
  detections
    .command('show')
    .description('One detection, whole.')
    .argument('<uid>', 'as `guardian detections list` shows it')
    .action(action(show));
  detections
    .command('verdict')
    .description('Says what a detection was: an attack, a benign trigger, or nothing.')
    .argument('<uid>', 'as `guardian detections list` shows it')
    .argument('<verdict>', VERDICTS_OF_ANALYSTS.join(', '))
    .option('--note <text>', 'why', '')
    .addHelpText(
      'after',
      '\nExample:\n  guardian detections verdict 0198... benign-trigger --note "our scanner"',
    )
    .action(action<{ readonly note: string }>(judge));
  detections
    .command('accuracy')
    .description('Precision by model, as verdicts measure it, with exact 95 % intervals.')
    .action(action(accuracy));

  const suppressions = program
    .command('suppressions')
    .description('Rules that silence notices for a time; what they silence is stored all the same.');
  suppressions
    .command('list')
    .description('Every rule, and whether it is in force.')
    .action(action(listRules));
  suppressions
    .command('add')
    .description('Silences notices of what fits every condition.')
    .option('--kind <kind>', 'kind of attack')
    .option('--source <network>', 'address or network of the source')
    .option('--destination <network>', 'address or network of the destination')
    .requiredOption('--hours <n>', 'until it expires', parseWhole(1, 8_760))
    .requiredOption('--reason <text>', 'why; it stands in the audit log')
    .addHelpText(
      'after',
      '\nExample:\n  guardian suppressions add --kind port-scan --source 10.0.9.4 --hours 8 --reason "audit of the network"',
    )
    .action(action<AddOptions>(addRule));
  suppressions
    .command('remove')
    .description('Ends a rule.')
    .argument('<id>', 'as `guardian suppressions list` shows it')
    .action(action(removeRule));
}

async function list(context: Context, { limit }: { readonly limit: number }): Promise<undefined> {
  const { detections } = (await withSession(context, ({ api }) =>
    api.call('GET', `/v1/detections?limit=${limit}`),
  )) as { readonly detections: readonly Judged[] };
  for (const each of detections) {
    const said = each.judgement === undefined ? '' : ` [${each.judgement.verdict}]`;
    context.output.line(`${printable(each.uid)} ${formatLine(each)}${said}`);
  }
  context.output.object({ type: 'detections.result', detections });
  return undefined;
}

async function show(context: Context, _: unknown, uid = ''): Promise<undefined> {
  const detection = await withSession(context, ({ api }) =>
    api.call('GET', `/v1/detections/${encodeURIComponent(uid)}`),
  );
  for (const line of JSON.stringify(detection, undefined, 2).split('\n')) {
    context.output.line(printable(line, 2_000));
  }
  context.output.object({ type: 'detections.show.result', detection });
  return undefined;
}

async function judge(
  context: Context,
  { note }: { readonly note: string },
  uid = '',
  verdict = '',
): Promise<undefined> {
  const judgement = (await withSession(context, ({ api }) =>
    api.call('POST', `/v1/detections/${encodeURIComponent(uid)}/verdict`, { verdict, note }),
  )) as { readonly model: string };
  context.output.line(`${printable(uid)}: ${printable(verdict)} (raised by ${printable(judgement.model)})`);
  context.output.object({ type: 'detections.verdict.result', ...judgement });
  return undefined;
}

async function accuracy(context: Context): Promise<undefined> {
  const { models } = (await withSession(context, ({ api }) => api.call('GET', '/v1/accuracy'))) as Accuracy;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  context.output.line(
    table(
      ['model', 'judged', 'true', 'benign trigger', 'false', 'precision', '95 % interval'],
      models.map((each) => [
        ...[printable(each.model), String(each.judged), String(each.true), String(each.benignTrigger)],
        ...[String(each.false), percent(each.precision.value)],
        `${percent(each.precision.low)} to ${percent(each.precision.high)}`,
      ]),
    ),
  );
  context.output.object({ type: 'detections.accuracy.result', models });
  return undefined;
}

async function listRules(context: Context): Promise<undefined> {
  const { rules } = (await withSession(context, ({ api }) => api.call('GET', '/v1/suppressions'))) as {
    readonly rules: readonly Rule[];
  };
  context.output.line(
    table(
      ['id', 'kind', 'source', 'destination', 'until', 'state', 'reason'],
      rules.map((rule) => [
        ...[rule.id, rule.kind ?? 'any', rule.source ?? 'any', rule.destination ?? 'any'].map((each) =>
          printable(each),
        ),
        new Date(rule.untilMs).toISOString(),
        rule.active === true ? 'in force' : 'expired',
        printable(rule.reason),
      ]),
    ),
  );
  context.output.object({ type: 'suppressions.result', rules });
  return undefined;
}

async function addRule(context: Context, options: AddOptions): Promise<undefined> {
  const { kind, source, destination, hours, reason } = options;
  const rule = (await withSession(context, ({ api }) =>
    api.call('POST', '/v1/suppressions', {
      ...{ kind, source, destination, hours, reason },
    }),
  )) as Rule;
  context.output.line(`${rule.id} silences until ${new Date(rule.untilMs).toISOString()}`);
  context.output.object({ type: 'suppressions.add.result', ...rule });
  return undefined;
}

async function removeRule(context: Context, _: unknown, id = ''): Promise<undefined> {
  await withSession(context, ({ api }) => api.call('DELETE', `/v1/suppressions/${encodeURIComponent(id)}`));
  context.output.line(`${printable(id)} is removed`);
  context.output.object({ type: 'suppressions.remove.result', id });
  return undefined;
}
