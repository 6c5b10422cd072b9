import { basename } from 'node:path';
import type { Command } from 'commander';
import { sha256 } from '../crypto/index.ts';
import { loadSchema } from '../features/index.ts';
import { openRunnable } from '../inference/index.ts';
import { chooseOutput, describeGraph } from '../models/index.ts';
import { parseReference } from '../registry/index.ts';
import { adoptGraph } from '../training/index.ts';
import {
  type AdoptOptions,
  addAdoptOptions,
  judgeAdopted,
  readModelFile,
  sayAdopted,
} from './adopted-model.ts';
import type { Context } from './context.ts';
import type { Extraction } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { count, printable } from './text.ts';

interface ImportOnnxOptions extends AdoptOptions {
  readonly output?: string;
  readonly column?: number;
  readonly logOdds?: boolean;
}

export function registerOnnx(models: Command, action: Registrar['action']): void {
  const command = models
    .command('import-onnx')
    .description(
      'Makes a candidate of an ONNX graph that is left as it is and computed by onnxruntime; calibrated, gated and published here.',
    )
    .argument('<file>', 'ONNX: one input of float32 rows x columns, operators of the standard alone');
  addAdoptOptions(command, 'rows')
    .option('--output <name>', 'output that speaks of attacks; found where there is one answer')
    .option('--column <n>', 'its column of attacks, from 0', parseWhole(0, 65_535))
    .option('--log-odds', 'it gives log-odds, not probabilities')
    .addHelpText('after', HELP)
    .action(action<ImportOnnxOptions>(importOnnx));
}

const HELP = `
The graph is not rewritten: what it computes is what scores. A file with tensors in other files, operators of its own or graphs
inside its nodes is refused. Trees score faster by \`models import-trees\`, which makes them native and can explain them.

Examples:
  guardian models import-onnx forest.onnx --schema nsl-kdd --name nsl-forest --data KDDTrain+.txt.gz
  guardian models import-onnx net.onnx --schema flow --name flow-net --data week.pcap --labels week.csv \\
    --output logits --column 1 --log-odds
  guardian models bom nsl-forest@1.0.0                     its operators, their versions and who wrote it`;

async function importOnnx(context: Context, options: ImportOnnxOptions, path = ''): Promise<number> {
  const { config, output } = context;
  const { name, labels, seed } = options;
  parseReference(`${name}@champion`);
  const file = await readModelFile(path);
  const from = chooseOutput(file, {
    ...{ name: options.output, column: options.column },
    link: options.logOdds === true ? 'margin' : 'probability',
  });
  const schema = await loadSchema(options.schema);
  const extractions: Extraction[] = [];
  const table = await readLabelledData(context, schema, options.data, {
    ...{ labels, command: 'train' as const, extractions },
  });
  const { thresholdPolicy } = config.training;
  const adopted = await adoptGraph({ file, schema, table, seed, thresholdPolicy, output: from }, (model) =>
    openRunnable(model, config.inference.onnx),
  );
  const judged = await judgeAdopted(context, adopted, { name, schema, extractions });
  const graph = describeGraph(file);
  const nodes = Object.values(graph.operators).reduce((sum, each) => sum + each, 0);
  output.line(
    `${count(nodes)} nodes of ${printable(basename(path))}, written by ${printable(graph.producer || 'nobody it names')}`,
  );
  output.line(
    `attacks by column ${from.column} of ${printable(from.name)}, threshold ${adopted.model.threshold.toFixed(3)}`,
  );
  return sayAdopted(context, judged, {
    what: 'the graph was',
    object: { type: 'import-onnx.result', origin: sha256(file), output: from, graph },
  });
}
