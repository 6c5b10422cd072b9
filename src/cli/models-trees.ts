import { basename } from 'node:path';
import type { Command } from 'commander';
import { writeFileAtomic } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import { loadSchema } from '../features/index.ts';
import { BoostedModel, exportOnnx } from '../models/index.ts';
import { parseReference } from '../registry/index.ts';
import { adoptTrees } from '../training/index.ts';
import {
  type AdoptOptions,
  addAdoptOptions,
  judgeAdopted,
  readModelFile,
  sayAdopted,
} from './adopted-model.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { fetchVerified } from './exported-model.ts';
import type { Extraction } from './extraction.ts';
import { refuseExisting } from './lab.ts';
import { readLabelledData } from './labelled-data.ts';
import type { Registrar } from './registrar.ts';
import { count, printable } from './text.ts';

interface ImportTreesOptions extends AdoptOptions {
  readonly raw?: boolean;
}

export function registerTrees(models: Command, action: Registrar['action']): void {
  const command = models
    .command('import-trees')
    .description(
      'Makes a candidate of trees that LightGBM, XGBoost or scikit-learn trained; calibrated, gated and published here.',
    )
    .argument('<file>', 'LightGBM text model, or ONNX with trees');
  addAdoptOptions(command, 'trees')
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
  const { config, output } = context;
  const { name, labels, seed } = options;
  parseReference(`${name}@champion`);
  const file = await readModelFile(path);
  const schema = await loadSchema(options.schema);
  const extractions: Extraction[] = [];
  const table = await readLabelledData(context, schema, options.data, {
    ...{ labels, command: 'train' as const, extractions },
  });
  const { thresholdPolicy } = config.training;
  const adopted = adoptTrees({ file, schema, table, seed, thresholdPolicy, isRaw: options.raw === true });
  const judged = await judgeAdopted(context, adopted, { name, schema, extractions });
  const { model } = adopted;
  output.line(
    `${count(model.parts.detector.roots.length)} trees of ${printable(basename(path))}, threshold ${model.threshold.toFixed(3)}`,
  );
  return sayAdopted(context, judged, {
    what: 'the trees were',
    object: { type: 'import-trees.result', origin: sha256(file) },
  });
}
