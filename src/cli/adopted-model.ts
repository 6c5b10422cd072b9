import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { LoadedSchema } from '../features/index.ts';
import { openRunnable } from '../inference/index.ts';
import type { DetectionModel } from '../models/index.ts';
import type { GateReport, PublishedVersion } from '../registry/index.ts';
import {
  type AdoptionProvenance,
  type Evaluation,
  evaluateModel,
  type LabelledTable,
  runGates,
} from '../training/index.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { type Extraction, noteExtraction } from './extraction.ts';
import { gatesTable, metricsOf, metricsTable } from './metrics-text.ts';
import { parseWhole } from './options.ts';
import { findChampion, publish } from './publish-model.ts';
import { withSession } from './session.ts';
import { count, printable } from './text.ts';

/** Options of every command that takes in what another library trained. */
export interface AdoptOptions {
  readonly schema: string;
  readonly name: string;
  readonly data: string;
  readonly labels?: string;
  readonly seed: number;
}

/** What was made of it. */
export interface Adopted {
  readonly model: DetectionModel;
  readonly modelBytes: Uint8Array;
  readonly held: LabelledTable;
  readonly provenance: AdoptionProvenance;
}

export function addAdoptOptions(command: Command, trained: string): Command {
  return command
    .requiredOption('--schema <name|file>', `feature schema whose columns the ${trained} have, in its order`)
    .requiredOption('--name <model>', 'name in the registry')
    .requiredOption('--data <file>', 'labelled data: one half calibrates, the gates are run on the other')
    .option('--labels <file>', 'labels of the flows, as `guardian lab` writes them')
    .option('--seed <n>', 'seed of the halves', parseWhole(0, 0xffffffff), 1);
}

/** The file of another library. Throws `cli.usage`. */
export function readModelFile(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: unknown) => {
    throw new CliError('cli.usage', `cannot read ${printable(path)}`, { cause });
  });
}

/** Runs the gates on the rows held out and publishes; the champion is measured on the same rows. */
export async function judgeAdopted(
  context: Context,
  adopted: Adopted,
  { name, schema, extractions }: { name: string; schema: LoadedSchema; extractions: readonly Extraction[] },
): Promise<{ evaluation: Evaluation; gates: GateReport; published: PublishedVersion }> {
  const { config } = context;
  const { model, modelBytes, held, provenance } = adopted;
  const found = await findChampion(context, name, provenance);
  const own = await openRunnable(model, config.inference.onnx);
  try {
    const theirs =
      typeof found === 'string' ? undefined : await openRunnable(found.model, config.inference.onnx);
    try {
      const champion =
        typeof found === 'string' || theirs === undefined
          ? (found as string)
          : { model: theirs.model, version: found.version };
      const evaluation = evaluateModel(own.model, held);
      const { dataDigest } = provenance;
      const gates = runGates(
        { ...{ model: own.model, modelBytes, evaluation, table: held, schema, dataDigest }, champion },
        config.gates,
      );
      const published = await withSession(context, async ({ api }) => {
        for (const extraction of extractions) await noteExtraction(api, extraction);
        return await publish(api, name, schema, adopted, gates);
      });
      return { evaluation, gates, published };
    } finally {
      await theirs?.close();
    }
  } finally {
    await own.close();
  }
}

/** Says what came of it; `object` is what the command adds to its result. The exit code is that of the gates. */
export function sayAdopted(
  { output }: Context,
  { evaluation, gates, published }: Awaited<ReturnType<typeof judgeAdopted>>,
  { what, object }: { readonly what: string; readonly object: Readonly<Record<string, unknown>> },
): number {
  output.line(`\nOn the half of the rows that nothing was fitted on here (${count(evaluation.rows)} rows):`);
  output.line(metricsTable(evaluation.metrics));
  output.line(`Whether ${what} trained on these rows cannot be told; register gate data that it was not.`);
  output.line(`\n${gatesTable(gates)}`);
  output.line(`published ${published.name}@${published.version} ${published.digest}`);
  output.object({
    model: published.name,
    version: published.version,
    digest: published.digest,
    threshold: evaluation.threshold,
    metrics: metricsOf(evaluation.metrics),
    gates: gates.gates,
    ...object,
  });
  return gates.passed ? EXIT.done : EXIT.checkFailed;
}
