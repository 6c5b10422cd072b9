import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseSchema } from '../features/index.ts';
import { certify, type KindMetrics } from '../models/index.ts';
import { type VerifiedModel, verifyExport } from '../registry/index.ts';
import { evaluateModel } from '../training/index.ts';
import type { Context } from './context.ts';
import { type Extraction, noteWhereThereIsState } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { metricsOf, metricsTable } from './metrics-text.ts';
import { fetchExport, signingKey, writeExport } from './models.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, percent, printable, table } from './text.ts';

export function registerEvaluate({ program, action }: Registrar): void {
  program
    .command('evaluate')
    .description(
      'Measures a verified model on labelled data: metrics with intervals, certificate, table of kinds.',
    )
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .argument('<data>', 'table or flows, as for `guardian train`')
    .option('--labels <file>', 'labels of the flows')
    .addHelpText('after', '\nExample:\n  guardian evaluate nsl@1.0.0 KDDTest+.txt.gz')
    .action(action<{ labels?: string }>(runEvaluate));
}

async function runEvaluate(
  context: Context,
  options: { labels?: string },
  reference = '',
  data = '',
): Promise<undefined> {
  const { output } = context;
  const model = await fetchVerified(context, reference);
  const schema = parseSchema(model.schemaBytes);
  const extractions: Extraction[] = [];
  const { labels } = options;
  const rows = await readLabelledData(context, schema, data, { labels, command: 'evaluate', extractions });
  for (const extraction of extractions) await noteWhereThereIsState(context, extraction);
  const evaluation = evaluateModel(model.model, rows);
  const certificate = certify({ probability: evaluation.probability, labels: rows.labels, origin: 'public' });
  output.line(
    `${model.name}@${model.version} on ${printable(basename(data))}: ${count(evaluation.rows)} rows`,
  );
  output.line(metricsTable(evaluation.metrics));
  output.line();
  output.line(kindsTable(evaluation.kinds));
  output.line(`\ncertificate ${certificate.status}: ${certificate.reason}`);
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
    certificate,
  });
  return undefined;
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

/** The model as the owner of the state exports it, verified again in this process with the owner's public key. */
export async function fetchVerified(context: Context, reference: string): Promise<VerifiedModel> {
  const folder = await mkdtemp(join(tmpdir(), 'guardian-evaluate-'));
  try {
    const { files, key } = await withSession(context, async ({ api }) => {
      const call = (method: 'GET', path: string) => api.call(method, path);
      return { files: await fetchExport(call, reference), key: await signingKey(call) };
    });
    const exported = join(folder, 'model');
    await writeExport(exported, files);
    return await verifyExport(exported, [key]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
