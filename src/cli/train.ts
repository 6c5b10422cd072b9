import { basename } from 'node:path';
import { type LoadedSchema, loadSchema } from '../features/index.ts';
import { certify } from '../models/index.ts';
import { parseReference } from '../registry/index.ts';
import {
  countDuplicates,
  type DetectorWatch,
  evaluateModel,
  type LabelledTable,
  runGates,
  type TrainingSteps,
  trainingRun,
} from '../training/index.ts';
import type { Api } from './api.ts';
import { addBusOptions } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { type Extraction, noteExtraction } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { parseWhole } from './options.ts';
import { findChampion, publish } from './publish-model.ts';
import type { Registrar } from './registrar.ts';
import {
  addSecureOptions,
  openSecureRun,
  type SecureRun,
  type SecureTrainOptions,
} from './secure-training.ts';
import { withSession } from './session.ts';
import { count } from './text.ts';
import { endCheckpoints, withCheckpoints } from './train-checkpoints.ts';
import { reportTraining } from './train-report.ts';
import { measureOnTest, noteLook } from './train-test-data.ts';
import { trainingFacts, trainingThreads, trainWithProgress } from './training-progress.ts';
import { watchTraining } from './training-watch.ts';
import { type WorkersOptions, withWorkers } from './training-workers.ts';

interface TrainOptions extends WorkersOptions, SecureTrainOptions {
  readonly schema: string;
  readonly name: string;
  readonly labels?: string;
  readonly judge?: string;
  readonly test?: string;
  readonly testLabels?: string;
  readonly seed: number;
  readonly looks?: string;
  readonly resume?: boolean;
  readonly curve?: string;
  readonly threads?: number;
}

export function registerTrain({ program, action }: Registrar): void {
  const command = program
    .command('train')
    .description('Trains a detector, runs the gates on rows held out, and publishes it signed and encrypted.')
    .argument('<data>', 'table (CSV, plain or gzip) by its schema; or flows (pcap, Zeek, CSV) with --labels')
    .requiredOption('--schema <name|file>', 'feature schema: flow-core, nsl-kdd, ... or a file')
    .requiredOption('--name <model>', 'name in the registry')
    .option('--labels <file>', 'labels of the flows, as `guardian lab` writes them')
    .option('--test <data>', 'data that is only measured on, never trained, tuned or gated on')
    .option('--test-labels <file>', 'labels of the test flows')
    .option(
      '--judge <kinds>',
      'sources it may judge besides those it learns from: zeek,csv; else it abstains',
    )
    .option('--seed <n>', 'seed of every random choice', parseWhole(0, 0xffffffff), 1)
    .option('--resume', 'go on from the checkpoint of a training that was broken off, to the very same model')
    .option('--threads <n>', 'threads that grow trees (default: 2 for large tables)', parseWhole(1, 64))
    .option('--curve <file>', 'course of the training, one JSON object a line and round')
    .option('--looks <file>', 'list to which a look at test data is appended')
    .option('--workers <n>', 'workers that grow trees: threads, or with --bus who joined', parseWhole(1, 256))
    .option('--run <name>', 'run on the bus: a second coordinator of one name goes on where the first died');
  addSecureOptions(command);
  addBusOptions(command).addHelpText('after', TRAIN_HELP).action(action<TrainOptions>(runTrain));
}

async function runTrain(context: Context, options: TrainOptions, data = ''): Promise<number> {
  const { output } = context;
  // Before minutes of training, not after.
  parseReference(`${options.name}@champion`);
  const schema = await loadSchema(options.schema);
  const extractions: Extraction[] = [];
  const { labels } = options;
  const rows = await readLabelledData(context, schema, data, { labels, command: 'train', extractions });
  output.line(
    `${count(rows.rows)} rows of ${rows.columns} columns, ${count(attacksOf(rows))} of them attacks`,
  );

  const read = { schema, rows, extractions };
  if (options.secure !== true) {
    const stray = (['roster', 'approver', 'noise', 'minCellRows'] as const).find((name) => options[name]);
    if (stray !== undefined) throw new CliError('cli.usage', `--${stray} needs --secure`);
    return await trainAndPublish(context, options, read);
  }
  const secure = await openSecureRun(context, options, rows);
  try {
    return await trainAndPublish(context, options, read, secure);
  } finally {
    await secure.close();
  }
}

const TRAIN_HELP = `
Examples:
  guardian train KDDTrain+.txt.gz --test KDDTest+.txt.gz --schema nsl-kdd --name nsl

  With --secure the rows stay with the members of a roster, and the data given here are the coordinator's own: bins, stopping,
  threshold and gates rest on them. Without --bus the run is a rehearsal: the data are cut into members of this process.
  guardian train data.csv --schema nsl-kdd --name nsl --secure --workers 4
  guardian train own.csv --schema nsl-kdd --name nsl --secure --bus tls://bus.example:4222 \\
    --roster roster.json --approver approver.json`;

interface ReadData {
  readonly schema: LoadedSchema;
  readonly rows: LabelledTable;
  readonly extractions: Extraction[];
}

/** What a training may have besides its rows. */
interface Means {
  /** Way to the owner of the state. */
  readonly api?: Api | undefined;
  readonly steps?: TrainingSteps | undefined;
  readonly training?: (Pick<SecureRun, 'booster'> & Pick<DetectorWatch, 'gradients'>) | undefined;
}

/** Trees are grown here, on workers, or by secure aggregation; the rest is one way for all. */
async function trainAndPublish(
  context: Context,
  options: TrainOptions,
  { schema, rows, extractions }: ReadData,
  secure?: SecureRun,
): Promise<number> {
  const { output, config } = context;
  const resume = options.resume === true;
  const watched = { name: options.name, curve: options.curve, resume, rows: rows.rows };
  const train = ({ api, steps, training }: Means) =>
    watchTraining(context, { ...watched, api }, ({ onRound, ...detectors }) =>
      trainWithProgress(
        context,
        secure?.held ?? rows,
        schema,
        options.seed,
        secure === undefined ? {} : { method: 'trees' },
        {
          ...{ onRound, isWatched: options.curve !== undefined, isHeldOut: secure !== undefined },
          sourceKinds: judged(schema, rows, options.judge),
          threads: options.threads ?? trainingThreads(rows),
          detectors: { ...detectors, gradients: training?.gradients },
          ...(steps && { steps }),
          ...(training && { booster: training.booster }),
        },
      ),
    );
  const run = trainingRun({ table: rows, schema, config: config.training, seed: options.seed });
  const { trained: done, counts } =
    secure !== undefined
      ? { trained: await train({ training: secure }), counts: undefined }
      : await withCheckpoints(context, { name: options.name, run, resume }, (steps, api) =>
          withWorkers(options, (training) => train({ api, steps, training })),
        );
  const { pauses } = done;
  const trained = secure?.record(done.trained) ?? done.trained;
  const gates = runGates(
    {
      model: trained.model,
      modelBytes: trained.modelBytes,
      evaluation: evaluateModel(trained.model, trained.held),
      table: trained.held,
      schema,
      training: trainingFacts(trained, rows),
      champion: await findChampion(context, options.name, trained.provenance),
      dataDigest: trained.provenance.dataDigest,
    },
    config.gates,
  );
  const tested =
    options.test === undefined
      ? undefined
      : await measureOnTest(context, schema, trained, { ...options, extractions });
  const evaluation = tested ?? evaluateModel(trained.model, trained.held);
  const certificate = certify({
    probability: evaluation.probability,
    labels: (tested?.table ?? trained.held).labels,
    origin: 'public',
    decisionThreshold: evaluation.threshold,
  });

  const published = await withSession(context, async ({ api }) => {
    for (const extraction of extractions) await noteExtraction(api, extraction);
    const version = await publish(api, options.name, schema, trained, gates);
    if (secure === undefined) await endCheckpoints(context, options.name, api);
    return version;
  });
  await secure?.clear();
  if (tested !== undefined) await noteLook(context, options, evaluation);

  const known = tested && trained.trainedOn && countDuplicates(tested.table, rows, trained.trainedOn);
  reportTraining(output, {
    ...{ trained, pauses, gates, evaluation, certificate, published, counts, known },
    measuredOn: tested === undefined ? 'rows held out of training' : basename(options.test ?? ''),
  });
  return gates.passed ? EXIT.done : EXIT.checkFailed;
}

/** The kinds the rows were measured by, and those that whoever trains vouches for. */
function judged(schema: LoadedSchema, rows: LabelledTable, also = ''): readonly string[] {
  const known = schema.schema.sourceKinds;
  const added = also === '' ? [] : also.split(',');
  const stranger = added.find((kind) => !known.includes(kind));
  if (stranger !== undefined) {
    throw new CliError('cli.usage', `expected --judge to name some of ${known.join(', ')}, got ${stranger}`);
  }
  return known.filter((kind) => (rows.sourceKinds ?? known).includes(kind) || added.includes(kind));
}

function attacksOf(table: LabelledTable): number {
  return table.labels.reduce((sum, label) => sum + label, 0);
}
