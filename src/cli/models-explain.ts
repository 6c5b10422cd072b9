import type { Command } from 'commander';
import {
  type FeatureColumn,
  isTextTransform,
  type LoadedSchema,
  parseSchema,
  readTable,
  readValue,
} from '../features/index.ts';
import type { Contribution } from '../models/index.ts';
import { openFlowSource } from '../traffic/index.ts';
import { type LabelledTable, labelFlows } from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { fetchVerified } from './exported-model.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import { figure, printable, table } from './text.ts';

interface ExplainOptions {
  readonly row: number;
  readonly limit: number;
}

/** A contribution as an analyst reads it. */
interface Explained {
  readonly column: string;
  /** In the schema's unit; a category by its name; null where missing. */
  readonly value: string | number | boolean | null;
  readonly unit: string;
  /** In log-odds; positive speaks for attack. */
  readonly contribution: number;
}

export function registerExplain(models: Command, action: Registrar['action']): void {
  models
    .command('explain')
    .description(
      'Says exactly why a model scores one row as it does: Shapley values of its trees, in the units of the schema.',
    )
    .argument('<reference>', 'flow, flow@champion or flow@1.2.0')
    .argument('<data>', 'a table by the schema of the model, or a source of flows')
    .requiredOption('--row <n>', 'which row or flow, the first is 1', parseWhole(1, 1_000_000_000))
    .option('--limit <n>', 'columns that are shown', parseWhole(1, 1_000), 10)
    .addHelpText('after', '\nExample:\n  guardian models explain nsl@champion KDDTest+.txt.gz --row 17')
    .action(action<ExplainOptions>(explain));
}

async function explain(
  context: Context,
  options: ExplainOptions,
  reference = '',
  data = '',
): Promise<undefined> {
  const { output } = context;
  const { model, name, version, schemaBytes } = await fetchVerified(context, reference);
  const schema = parseSchema(schemaBytes);
  const rows = await readRows(context, schema, data);
  if (options.row > rows.rows) {
    throw new CliError('cli.usage', `expected a row from 1 to ${rows.rows}, got ${options.row}`);
  }
  const values = rows.values.slice((options.row - 1) * rows.columns, options.row * rows.columns);
  const scored = { probability: new Float32Array(1), kind: new Int16Array(1) };
  model.score(values, 1, scored);
  const [probability = 0] = scored.probability;
  const kind = model.kinds[scored.kind[0] as number];
  const isExact = model.explainExactly !== undefined;
  const found = model.explainExactly?.(values, options.limit) ?? model.explain(values, options.limit);
  const features = found.map((entry) => inUnits(entry, schema));
  const isAttack = probability >= model.threshold;
  output.line(
    `row ${options.row} by ${name}@${version}: P(attack) ${probability.toFixed(4)}, ${isAttack ? 'at or above' : 'below'} the threshold ${model.threshold.toFixed(4)}${kind === undefined ? '' : `, named ${printable(kind, 40)}`}`,
  );
  output.line(
    table(
      ['feature', 'value', 'unit', 'log-odds', 'speaks for'],
      features.map(({ column, value, unit, contribution }) => [
        column,
        typeof value === 'number' ? figure(value) : printable(String(value ?? 'missing'), 40),
        unit,
        contribution.toFixed(4),
        contribution > 0 ? 'attack' : 'normal',
      ]),
    ),
  );
  const novelty = model.novelty?.(values);
  if (novelty?.isNovel === true) {
    output.line(
      `unlike anything in training; nearest attack: ${printable(novelty.nearest ?? 'none known', 40)}`,
    );
  }
  output.object({
    type: 'explain.result',
    model: name,
    version,
    row: options.row,
    probability,
    threshold: model.threshold,
    kind: kind ?? null,
    novelty: novelty ?? null,
    method: isExact ? 'tree-shap' : 'path',
    features,
  });
  return undefined;
}

/** Rows without their labels; those the schema refuses are not counted. */
async function readRows(context: Context, schema: LoadedSchema, data: string): Promise<LabelledTable> {
  const { signal, config } = context;
  if (schema.schema.kind === 'table') return await readTable(data, schema, { signal });
  const source = await openFlowSource(data, config.meter);
  const rows = await labelFlows({ batches: source.batches(signal), schema, labelOf: () => 'benign' });
  signal.throwIfAborted();
  return rows;
}

function inUnits({ column, value, contribution }: Contribution, { schema }: LoadedSchema): Explained {
  const known = schema.columns.find(({ name }) => name === column) as FeatureColumn;
  const shown = readValue(known, value) ?? null;
  // Float32 of a logarithm: seven digits are all there are.
  const rounded = typeof shown === 'number' ? Number(shown.toPrecision(6)) : shown;
  const derived = isTextTransform(known.transform) && known.source !== undefined ? ` of ${known.source}` : '';
  return { column, value: rounded, unit: `${known.unit}${derived}`, contribution };
}
