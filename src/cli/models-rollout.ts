import type { Command } from 'commander';
import type { RolloutReport, SideReport } from '../inference/index.ts';
import type { Admission } from '../registry/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { modelRoute, splitVersion } from './models-reference.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable, table } from './text.ts';

interface StopOption {
  readonly stop?: boolean;
}

interface CanaryOptions extends StopOption {
  readonly percent?: string;
}

/** `guardian models shadow|canary|rollout`. */
export function registerRollout(models: Command, { action }: Pick<Registrar, 'action'>): void {
  models
    .command('shadow')
    .description('Shows a version what the champion answers, and compares the two; it never decides.')
    .argument('<version>', 'flow@1.2.0; with --stop the name is enough')
    .option('--stop', 'end what runs beside the champion')
    .addHelpText('after', '\nExample:\n  guardian models shadow flow@1.2.0')
    .action(action<StopOption>(shadow));
  models
    .command('canary')
    .description(
      'Lets a version that may be promoted decide for a share of the sources, always the same ones.',
    )
    .argument('<version>', 'flow@1.2.0; with --stop the name is enough')
    .option('--percent <share>', 'of the sources, above 0 and up to 100')
    .option('--stop', 'end what runs beside the champion')
    .addHelpText('after', '\nExample:\n  guardian models canary flow@1.2.0 --percent 5')
    .action(action<CanaryOptions>(canary));
  models
    .command('rollout')
    .description('Compares the version that runs beside the champion, or the last that did, with it.')
    .argument('<name>', 'flow')
    .action(action(rollout));
}

async function shadow(context: Context, options: StopOption, reference?: string): Promise<undefined> {
  if (options.stop === true) return await stop(context, reference);
  const { name, version } = splitVersion(reference, 'run as a shadow');
  const report = (await call(context, 'POST', modelRoute(name, '/shadow'), { version })) as RolloutReport;
  context.output.line(
    `${name}@${version} runs as a shadow of ${report.champion.version}; it decides nothing`,
  );
  context.output.object({ type: 'rollout.result', ...report });
  return undefined;
}

async function canary(context: Context, options: CanaryOptions, reference?: string): Promise<undefined> {
  if (options.stop === true) return await stop(context, reference);
  const { name, version } = splitVersion(reference, 'run as a canary');
  const percent = Number(options.percent);
  if (options.percent === undefined || !(percent > 0 && percent <= 100)) {
    throw new CliError('cli.usage', 'expected --percent above 0 and up to 100');
  }
  const { rollout: report, admission } = (await call(context, 'POST', modelRoute(name, '/canary'), {
    version,
    percent,
  })) as { rollout: RolloutReport; admission: Admission };
  context.output.line(
    `${name}@${version} decides for ${percent} % of the sources (audit entry ${admission.intent})`,
  );
  context.output.line(
    `approved by ${printable(admission.approvals.join(', '))}; gates: ${admission.gates}; else ${report.champion.version} decides`,
  );
  context.output.object({ type: 'rollout.result', ...report, admission });
  return undefined;
}

async function stop(context: Context, reference = ''): Promise<undefined> {
  const [name = ''] = reference.split('@');
  const report = (await call(context, 'POST', modelRoute(name, '/rollout/stop'))) as RolloutReport;
  sayReport(context, report);
  return undefined;
}

async function rollout(context: Context, _: unknown, name = ''): Promise<undefined> {
  sayReport(context, (await call(context, 'GET', modelRoute(name, '/rollout'))) as RolloutReport);
  return undefined;
}

function sayReport(context: Context, report: RolloutReport): void {
  const { kind, percent, champion, candidate, endedBecause, agreement } = report;
  const share = percent === null ? '' : ` for ${percent} % of the sources`;
  const state = endedBecause === null ? 'runs' : `ended (${endedBecause})`;
  context.output.line(
    `${report.name}@${candidate.version} ${state} as a ${kind}${share}, beside ${champion.version}`,
  );
  context.output.line(`since ${report.startedAt} by ${printable(report.startedBy)}`);
  context.output.line();
  context.output.line(
    table(
      ['', 'version', 'rows decided', 'rows compared', 'p50 ms', 'p99 ms', 'errors'],
      [row('champion', champion), row('candidate', candidate)],
    ),
  );
  context.output.line();
  context.output.line(
    table(
      ['champion says', 'candidate: benign', 'attack', 'abstain'],
      Object.entries(agreement).map(([verdict, { benign, attack, abstain }]) => [
        verdict,
        ...[benign, attack, abstain].map((n) => count(n)),
      ]),
    ),
  );
  const agreed =
    report.agreed === null ? 'nothing was compared yet' : `${(100 * report.agreed).toFixed(2)} %`;
  const psi = report.scorePsi === null ? 'too few rows' : report.scorePsi.toFixed(4);
  context.output.line(
    `\nagreed: ${agreed}; score drift (PSI): ${psi}; rows not compared for want of time: ${count(report.droppedRows)}`,
  );
  context.output.object({ type: 'rollout.result', ...report });
}

function row(side: string, { version, decidedRows, mirroredRows, latencyMs, errors }: SideReport): string[] {
  const failed = Object.entries(errors).map(([cause, n]) => `${cause} ${n}`);
  const times = latencyMs.count === 0 ? ['-', '-'] : [latencyMs.p50.toFixed(3), latencyMs.p99.toFixed(3)];
  return [side, version, count(decidedRows), count(mirroredRows), ...times, failed.join(', ') || 'none'];
}

function call(context: Context, method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
  return withSession(context, ({ api }) => api.call(method, path, body));
}
