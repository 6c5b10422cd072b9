import { basename } from 'node:path';
import { writeFileAtomic } from '../base/index.ts';
import { type LoadedSchema, parseSchema } from '../features/index.ts';
import { openRunnable } from '../inference/index.ts';
import {
  CERTIFICATE_ORIGINS,
  type CertificateOrigin,
  describeClaim,
  encodeCertificate,
  type KindMetrics,
  MAX_CERTIFICATE_DAYS,
} from '../models/index.ts';
import type { VerifiedModel } from '../registry/index.ts';
import { certifyModel, evaluateModel, type LabelledTable } from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { fetchVerified } from './exported-model.ts';
import { type Extraction, noteWhereThereIsState } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { metricsOf, metricsTable } from './metrics-text.ts';
import { parseChoice, parseTarget, parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { count, percent, printable, table } from './text.ts';

interface EvaluateOptions {
  readonly labels?: string;
  readonly certify?: boolean;
  readonly target: number;
  readonly origin: CertificateOrigin;
  readonly expiresDays: number;
  readonly out?: string;
}

export function registerEvaluate({ program, action }: Registrar): void {
  program
    .command('evaluate')
    .description(
      'Measures a verified model on labelled data: metrics with intervals, certificate, table of kinds.',
    )
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .argument('<data>', 'table or flows, as for `guardian train`')
    .option('--labels <file>', 'labels of the flows')
    .option('--certify', 'ends with 1 where neither block nor allow decisions can be certified')
    .option('--target <percent>', 'share of decisions that are to be right', parseTarget, 1e-5)
    .option(
      '--origin <origin>',
      'where the data are from: lab, public or site',
      parseChoice(CERTIFICATE_ORIGINS),
      'public',
    )
    .option('--expires-days <n>', 'days until the certificate ends', parseWhole(1, MAX_CERTIFICATE_DAYS), 30)
    .option('--out <file>', 'writes the certificate; unsigned, so it permits nothing: see `models certify`')
    .addHelpText(
      'after',
      '\nExamples:\n  guardian evaluate nsl@1.0.0 KDDTest+.txt.gz\n  guardian evaluate flow@champion week.pcap --labels week.csv --certify --target 99.99 --origin site',
    )
    .action(action<EvaluateOptions>(runEvaluate));
}

async function runEvaluate(
  context: Context,
  options: EvaluateOptions,
  reference = '',
  data = '',
): Promise<number | undefined> {
  const { output } = context;
  if (options.out !== undefined && options.certify !== true) {
    throw new CliError('cli.usage', 'expected --certify beside --out');
  }
  const model = await fetchVerified(context, reference);
  const schema = parseSchema(model.schemaBytes);
  const extractions: Extraction[] = [];
  const { labels } = options;
  const rows = await readLabelledData(context, schema, data, { labels, command: 'evaluate', extractions });
  for (const extraction of extractions) await noteWhereThereIsState(context, extraction);
  if (options.certify === true && rows.digest === model.manifest.dataDigest) {
    throw new CliError(
      'cli.usage',
      'the model was trained on these data; a certificate needs rows that it has not seen',
    );
  }
  const { evaluation, claims, certificate } = await measure(context, model, { schema, rows, options });
  output.line(
    `${model.name}@${model.version} on ${printable(basename(data))}: ${count(evaluation.rows)} rows`,
  );
  output.line(metricsTable(evaluation.metrics));
  output.line();
  output.line(kindsTable(evaluation.kinds));
  output.line();
  for (const claim of Object.values(claims)) output.line(describeClaim(claim));
  if (options.out !== undefined && certificate !== undefined) {
    await writeFileAtomic(options.out, encodeCertificate(certificate), 0o644);
    output.line(`wrote ${printable(options.out)}`);
  }
  output.object({
    type: 'evaluate.result',
    model: model.name,
    version: model.version,
    digest: model.digest,
    data: evaluation.dataDigest,
    rows: evaluation.rows,
    threshold: evaluation.threshold,
    metrics: metricsOf(evaluation.metrics),
    kinds: evaluation.kinds,
    certificate: claims.block,
    claims,
  });
  return options.certify === true && certificate === undefined ? EXIT.checkFailed : undefined;
}

/** On the rows; a foreign graph is computed in a process of its own meanwhile. */
async function measure(
  { config, clock }: Context,
  { model, digest: modelDigest }: VerifiedModel,
  { schema, rows, options }: { schema: LoadedSchema; rows: LabelledTable; options: EvaluateOptions },
) {
  const opened = await openRunnable(model, config.inference.onnx);
  try {
    const evaluation = evaluateModel(opened.model, rows);
    const { target, origin, expiresDays } = options;
    const certified = certifyModel({
      ...{ model: opened.model, modelDigest, schema, table: rows },
      ...{ target, origin, expiresDays, clock, probability: evaluation.probability },
    });
    return { evaluation, ...certified };
  } finally {
    await opened.close();
  }
}

/** A row for each kind of attack: how much of it was found, and how well it was named. */
export function kindsTable(kinds: readonly KindMetrics[]): string {
  return table(
    ['attack', 'rows', 'found', '95 % interval', 'named rightly', 'precision'],
    kinds.map(({ kind, rows, detected, recall, precision }) => [
      printable(kind, 40),
      String(rows),
      percent(detected.value, 1),
      `${percent(detected.low, 1)} to ${percent(detected.high, 1)}`,
      recall === undefined ? '-' : percent(recall.value, 1),
      precision === undefined ? '-' : percent(precision.value, 1),
    ]),
  );
}
