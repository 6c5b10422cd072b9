import type { Command } from 'commander';
import { writeFileAtomic } from '../base/index.ts';
import type { AliasChange, EvaluatorReport, ServedAt } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { gatesTable } from './metrics-text.ts';
import { modelRoute } from './models-reference.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable, table } from './text.ts';

interface HistoryOptions {
  readonly at?: string;
  readonly alias: string;
  readonly proof?: string;
}

export function registerHistory(models: Command, action: Registrar['action']): void {
  models
    .command('history')
    .description(
      'Who pointed which alias where and when; with --at, what served then, by whom, on what evidence.',
    )
    .argument('<name>', 'flow')
    .option('--at <time>', 'RFC 3339, such as 2026-11-23T12:00:00Z, or `now`')
    .option('--alias <name>', 'which alias, with --at', 'champion')
    .option('--proof <file>', 'writes the inclusion proof of the move, to be verified offline; with --at')
    .addHelpText(
      'after',
      '\nExample:\n  guardian models history flow --at 2026-11-23T12:00:00Z --proof flow.tlog-proof',
    )
    .action(action<HistoryOptions>(history));
}

/** What the registry's own evaluator found, in lines. */
export function evidenceLines(report: EvaluatorReport & { readonly signedBy: string }): readonly string[] {
  const { data, drift, driftNote, securityChecks, signedBy, createdAt } = report;
  return [
    `gates run here on ${data.digest.slice(0, 19)}…: ${count(data.rows)} rows, ${count(data.attacks)} attacks; signed by ${signedBy}, ${createdAt}`,
    gatesTable(report.gates),
    drift === null
      ? `drift: none measured, ${printable(driftNote)}`
      : `drift from ${drift.version}: PSI ${drift.psi.toFixed(3)}, KS ${drift.ks.toFixed(3)}, ${Object.entries(
          drift.metrics,
        )
          .map(([name, difference]) => `${name} ${difference >= 0 ? '+' : ''}${difference.toFixed(4)}`)
          .join(', ')}`,
    `verified before: ${securityChecks.join(', ')}`,
  ];
}

async function history(context: Context, options: HistoryOptions, name = ''): Promise<undefined> {
  if (options.at !== undefined) return await historyAt(context, options, name);
  if (options.proof !== undefined) throw new CliError('cli.usage', 'expected --at TIME beside --proof');
  const { changes } = (await withSession(context, ({ api }) =>
    api.call('GET', modelRoute(name, '/history')),
  )) as { changes: readonly AliasChange[] };
  context.output.line(
    table(
      ['time', 'alias', 'version', 'action', 'by', 'approved by', 'gates', 'audit entry'],
      changes.map((change) => [
        change.time,
        change.alias,
        change.version,
        change.action,
        printable(change.principal),
        printable(change.approvals.join(', ')),
        change.gates,
        String(change.intent),
      ]),
    ),
  );
  context.output.object({ type: 'history.result', name, changes });
  return undefined;
}

async function historyAt(context: Context, options: HistoryOptions, name: string): Promise<undefined> {
  const { output } = context;
  const at = options.at === 'now' ? context.clock.now() : Date.parse(options.at ?? '');
  if (Number.isNaN(at))
    throw new CliError('cli.usage', 'expected --at as RFC 3339, such as 2026-11-23T12:00:00Z');
  const query = `?at=${at}&alias=${encodeURIComponent(options.alias)}`;
  const served = (await withSession(context, ({ api }) =>
    api.call('GET', modelRoute(name, `/served${query}`)),
  )) as ServedAt;
  const { change } = served;
  if (change === null) output.line(`${name}@${served.alias} did not exist at ${served.at}`);
  else for (const line of servedLines(served, change)) output.line(line);
  const move = served.proofs.find(({ about }) => about === 'outcome');
  if (options.proof !== undefined && move !== undefined) {
    await writeFileAtomic(options.proof, move.proof, 0o644);
    output.line(`proof of audit entry ${move.index}: ${options.proof}`);
  }
  output.object({ type: 'served.result', ...served });
  return undefined;
}

function servedLines(served: ServedAt, change: AliasChange): readonly string[] {
  const { until, approvals, evidence, gateReport, proofs } = served;
  const people = `${change.approvals.length} of ${change.approvalsRequired}`;
  return [
    `${change.name}@${served.alias} was ${change.version} at ${served.at}`,
    `since     ${change.doneAt}, ${change.action} by ${printable(change.principal)}`,
    `until     ${until === null ? 'now' : `${until.time}, when ${until.version} took its place`}`,
    `approved  ${people}: ${printable(change.approvals.join(', '))}`,
    ...approvals.map(
      ({ principal, time, intent }) => `          ${printable(principal)} at ${time}, audit entry ${intent}`,
    ),
    `gates     ${change.gates}`,
    ...(evidence !== null ? evidenceLines(evidence) : gateReport !== null ? [gatesTable(gateReport)] : []),
    `proven    audit entries ${proofs.map(({ index }) => index).join(', ')} are in the log`,
  ];
}
