import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import { loadSchema } from '../features/index.ts';
import { BoostedModel, exportOnnx } from '../models/index.ts';
import { parseReference } from '../registry/index.ts';
import { adoptTrees, evaluateModel, runGates } from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { fetchVerified } from './exported-model.ts';
import { type Extraction, noteExtraction } from './extraction.ts';
import { refuseExisting } from './lab.ts';
import { readLabelledData } from './labelled-data.ts';
import { gatesTable, metricsOf, metricsTable } from './metrics-text.ts';
import { parseWhole } from './options.ts';
import { findChampion, publish } from './publish-model.ts';
import type { Registrar } from './registrar.ts';
import { withSession } from './session.ts';
import { count, printable } from './text.ts';

interface ImportTreesOptions {
  readonly schema: string;
  readonly name: string;
  readonly data: string;
  readonly labels?: string;
  readonly seed: number;
  readonly raw?: boolean;
}

export function registerTrees(models: Command, action: Registrar['action']): void {
  models
    .command('import-trees')
    .description(
      'Makes a candidate of trees that LightGBM, XGBoost or scikit-learn trained; calibrated, gated and published here.',
    )
    .argument('<file>', 'LightGBM text model, or ONNX with trees')
    .requiredOption('--schema <name|file>', 'feature schema whose columns the trees have, in its order')
    .requiredOption('--name <model>', 'name in the registry')
    .requiredOption(
      '--data <file>',
      'labelled training data: one half calibrates, the gates are run on the other',
    )
    .option('--labels <file>', 'labels of the flows, as `guardian lab` writes them')
    .option('--seed <n>', 'seed of the halves', parseWhole(0, 0xffffffff), 1)
    .option('--raw', "the trees were trained on values before the schema's log1p")
    .addHelpText(
      'after',
      '\nExample:\n  guardian models import-trees nsl.txt --schema nsl-kdd --name nsl-lightgbm --data KDDTrain+.txt.gz',
    )
    .action(action<ImportTreesOptions>(importTrees));
}

/** Writes one version's trees for other runtimes; not signed, and the file says which schema it wants. */
export async function writeOnnx(context: Context, out: string, reference: string): Promise<undefined> {
  await refuseExisting(out);
  const { model, name, version, digest } = await fetchVerified(context, reference);
  if (!(model instanceof BoostedModel))
    throw new CliError('cli.refused', 'only trees can be written as ONNX');
  const bytes = exportOnnx(model.parts);
  await writeFileAtomic(out, bytes, 0o644);
  const { output } = context;
  output.line(`${name}@${version} is in ${printable(out)} as ONNX: ${count(bytes.length)} bytes, unsigned`);
  output.line(`an attack is a row whose probability is at or above ${model.threshold}`);
  output.object({
    ...{ type: 'export-onnx.result', model: name, version, digest, file: out, onnxDigest: sha256(bytes) },
    threshold: model.threshold,
  });
  return undefined;
}

async function importTrees(context: Context, options: ImportTreesOptions, path = ''): Promise<number> {
  const { output, config } = context;
  parseReference(`${options.name}@champion`);
  const file = await readFile(path).catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read ${printable(path)}`, { cause });
  });
  const schema = await loadSchema(options.schema);
  const extractions: Extraction[] = [];
  const { labels, seed } = options;
  const table = await readLabelledData(context, schema, options.data, {
    ...{ labels, command: 'train' as const, extractions },
  });
  const { thresholdPolicy } = config.training;
  const adopted = adoptTrees({ file, schema, table, seed, thresholdPolicy, isRaw: options.raw === true });
  const { model, modelBytes, held, provenance } = adopted;
  const evaluation = evaluateModel(model, held);
  const gates = runGates(
    {
      ...{ model, modelBytes, evaluation, table: held, schema, dataDigest: provenance.dataDigest },
      champion: await findChampion(context, options.name, provenance),
    },
    config.gates,
  );
  const published = await withSession(context, async ({ api }) => {
    for (const extraction of extractions) await noteExtraction(api, extraction);
    return await publish(api, options.name, schema, adopted, gates);
  });
  output.line(
    `${count(model.parts.detector.roots.length)} trees of ${printable(basename(path))}, threshold ${model.threshold.toFixed(3)}`,
  );
  output.line(`\nOn the half of the rows that nothing was fitted on here (${count(evaluation.rows)} rows):`);
  output.line(metricsTable(evaluation.metrics));
  output.line(
    'Whether the trees were trained on these rows cannot be told; register gate data that they were not.',
  );
  output.line(`\n${gatesTable(gates)}`);
  output.line(`published ${published.name}@${published.version} ${published.digest}`);
  output.object({
    type: 'import-trees.result',
    model: published.name,
    version: published.version,
    digest: published.digest,
    origin: sha256(file),
    threshold: model.threshold,
    metrics: metricsOf(evaluation.metrics),
    gates: gates.gates,
  });
  return gates.passed ? EXIT.done : EXIT.checkFailed;
}
