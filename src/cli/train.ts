import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { canonicalJson } from '../crypto/index.ts';
import { type LoadedSchema, loadSchema, schemaBytes } from '../features/index.ts';
import { certify, describeClaim } from '../models/index.ts';
import {
  type GateReport,
  type PublishedVersion,
  parseReference,
  type VerifiedModel,
} from '../registry/index.ts';
import {
  type AdoptedTrees,
  type Booster,
  countDuplicates,
  type Evaluation,
  evaluateModel,
  type LabelledTable,
  type PauseCounters,
  publishedRecord,
  type RoundProgress,
  runGates,
  type TrainingFacts,
  type TrainingProvenance,
  type TrainingResult,
  type TrainingSteps,
  trainDetector,
  trainingRun,
} from '../training/index.ts';
import { type Api, ApiError } from './api.ts';
import { addBusOptions } from './bus-options.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-code.ts';
import { fetchVerified } from './exported-model.ts';
import { type Extraction, noteExtraction } from './extraction.ts';
import { readLabelledData } from './labelled-data.ts';
import { gatesTable, metricsOf, metricsTable } from './metrics-text.ts';
import { parseWhole } from './options.ts';
import type { Registrar } from './registrar.ts';
import {
  addSecureOptions,
  openSecureRun,
  type SecureRun,
  type SecureTrainOptions,
  secureLines,
} from './secure-training.ts';
import { withSession } from './session.ts';
import { defaultLooksFile, recordTestLook } from './test-looks.ts';
import { count } from './text.ts';
import { endCheckpoints, withCheckpoints } from './train-checkpoints.ts';
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

/** Bins (rows x columns) from which on a second thread saves more than waking it costs in each phase of a tree. */
const SHARED_BINS = 8_000_000;

/** Threads that train a table where none are asked for; the model does not depend on them. */
export function trainingThreads({ rows, columns }: Pick<LabelledTable, 'rows' | 'columns'>): number {
  return rows * columns < SHARED_BINS ? 1 : Math.min(2, availableParallelism());
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

/** Trees are grown here, on workers, or by secure aggregation; the rest is one way for all. */
async function trainAndPublish(
  context: Context,
  options: TrainOptions,
  { schema, rows, extractions }: ReadData,
  secure?: SecureRun,
): Promise<number> {
  const { output, config } = context;
  const resume = options.resume === true;
  const watched = { curve: options.curve, resume, rows: rows.rows };
  const train = (how: Pick<ProgressOptions, 'steps' | 'booster'>) =>
    watchTraining(context, watched, (onRound) =>
      trainWithProgress(
        context,
        secure?.held ?? rows,
        schema,
        options.seed,
        secure === undefined ? {} : { method: 'trees' },
        {
          ...{ onRound, isWatched: options.curve !== undefined, isHeldOut: secure !== undefined, ...how },
          sourceKinds: judged(schema, rows, options.judge),
          threads: options.threads ?? trainingThreads(rows),
        },
      ),
    );
  const run = trainingRun({ table: rows, schema, config: config.training, seed: options.seed });
  const { trained: done, counts } =
    secure !== undefined
      ? { trained: await train({ booster: secure.booster }), counts: undefined }
      : await withCheckpoints(context, { name: options.name, run, resume }, (steps) =>
          withWorkers(options, (booster) => train({ ...(steps && { steps }), ...(booster && { booster }) })),
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
      : await look(context, schema, trained, { ...options, extractions });
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

  const shown = tested === undefined ? 'rows held out of training' : basename(options.test ?? '');
  output.line(
    `${count(trained.rounds)} trees in ${trained.trainCpuSeconds.toFixed(1)} CPU seconds, threshold ${trained.threshold.toFixed(3)}`,
  );
  if (pauses.pauses > 0) output.line(pausesLine(pauses));
  output.line(`\nOn ${shown} (${count(evaluation.rows)} rows):`);
  output.line(metricsTable(evaluation.metrics));
  const known = tested && trained.trainedOn && countDuplicates(tested.table, rows, trained.trainedOn);
  if (known !== undefined) output.line(`${count(known)} of these rows stand among those trained on`);
  output.line(`\n${gatesTable(gates)}`);
  output.line(`\n${describeClaim(certificate)}`);
  output.line(`published ${published.name}@${published.version} ${published.digest}`);
  output.line(
    gates.passed
      ? `promote it with: guardian models promote ${published.name}@${published.version}`
      : 'a gate failed: this version cannot be promoted',
  );
  const record = publishedRecord(trained.provenance.configuration);
  if (record !== undefined) output.line(`\n${secureLines(record).join('\n')}`);
  output.object({
    type: 'train.result',
    model: published.name,
    version: published.version,
    digest: published.digest,
    modelDigest: trained.digest,
    ...(record && { secure: record }),
    trainCpuSeconds: trained.trainCpuSeconds,
    rounds: trained.rounds,
    ...(counts && { checkpoints: counts }),
    pauses,
    threshold: trained.threshold,
    measuredOn: shown,
    ...(known !== undefined && { testDuplicates: known }),
    metrics: metricsOf(evaluation.metrics),
    gates: gates.gates,
    certificate,
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

interface ProgressOptions {
  /** Kinds of sources the model may judge; all of the schema's where absent. */
  readonly sourceKinds?: readonly string[];
  /** 1 where absent. */
  readonly threads?: number;
  readonly steps?: TrainingSteps;
  /** Where the trees are grown; in this process where absent. */
  readonly booster?: Booster;
  /** The rows to train on are the booster's own. */
  readonly isHeldOut?: boolean;
  readonly isWatched?: boolean;
  /** Called after each round; the next one waits for it. */
  readonly onRound?: (progress: RoundProgress) => Promise<void>;
}

/** Trains with a progress bar and Ctrl-C between two trees. */
export async function trainWithProgress(
  context: Context,
  rows: LabelledTable,
  schema: LoadedSchema,
  seed: number,
  config: Partial<Context['config']['training']> = {},
  {
    steps,
    booster,
    onRound,
    sourceKinds,
    isWatched = false,
    isHeldOut = false,
    threads = 1,
  }: ProgressOptions = {},
): Promise<TrainingResult> {
  const progress = context.output.progress('training');
  try {
    return await trainDetector({
      table: rows,
      schema,
      sourceKinds: sourceKinds ?? schema.schema.sourceKinds,
      config: { ...context.config.training, ...config },
      seed,
      isWatched,
      isHeldOut,
      threads,
      ...(steps && { steps }),
      ...(booster && { booster }),
      onProgress: async (made) => {
        context.signal.throwIfAborted();
        await onRound?.(made);
        const { round, rounds, validationLoss } = made;
        const loss = validationLoss === undefined ? '' : `, loss ${validationLoss.toFixed(4)}`;
        progress.update(round / rounds, `tree ${round} of at most ${rounds}${loss}`);
      },
    });
  } finally {
    progress.done();
  }
}

/** What the gates are told of a run. */
export function trainingFacts(trained: TrainingResult, table: LabelledTable): TrainingFacts {
  const { trainedOn, trainCpuSeconds: cpuSeconds } = trained;
  return {
    ...(trainedOn && { rows: { table, numbers: trainedOn } }),
    cpuSeconds,
    // Kilobytes on every platform.
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/**
 * The champion that the candidate is held against, or why there is none. One that was trained on other rows of the very
 * same data has seen the rows held out here, and would be flattered.
 */
export async function findChampion(
  context: Context,
  name: string,
  provenance: Pick<TrainingProvenance, 'schemaId' | 'seed' | 'dataDigest'> & {
    readonly configuration: unknown;
  },
): Promise<VerifiedModel | string> {
  let champion: VerifiedModel;
  try {
    champion = await fetchVerified(context, `${name}@champion`);
  } catch (error) {
    if (error instanceof ApiError && UNKNOWN_CHAMPION.has(error.code)) return 'there is none yet';
    throw error;
  }
  const { manifest, version, schemaId } = champion;
  if (schemaId !== provenance.schemaId) return `the champion ${version} has another schema`;
  const isSplitAlike =
    manifest.seed === provenance.seed &&
    SPLIT_FIELDS.every((field) => {
      const [theirs, ours] = [manifest.configuration, provenance.configuration].map(
        (each) => (each as Readonly<Record<string, unknown>> | null)?.[field] ?? null,
      );
      return canonicalJson(theirs) === canonicalJson(ours);
    });
  if (manifest.dataDigest === provenance.dataDigest && !isSplitAlike) {
    return `the champion ${version} was trained on rows held out here; register gate data to compare them`;
  }
  return champion;
}

const UNKNOWN_CHAMPION = new Set(['registry.alias-unknown', 'registry.version-unknown']);
/** What decides which rows of a table are held out, beside the seed. */
const SPLIT_FIELDS = [
  'method',
  'hybrid',
  'split',
  'duplicates',
  'validationFraction',
  'calibrationFraction',
] as const;

/** Publishes over the server's route, wherever the owner of the state is. */
export async function publish(
  api: Api,
  name: string,
  schema: LoadedSchema,
  trained: Pick<AdoptedTrees, 'modelBytes' | 'provenance'>,
  gateReport: GateReport,
): Promise<PublishedVersion> {
  // The registry takes the schema's id from the schema itself.
  const { schemaId: _, ...provenance } = trained.provenance;
  return (await api.call('POST', `/v1/models/${encodeURIComponent(name)}/versions`, {
    model: Buffer.from(trained.modelBytes).toString('base64'),
    schema: Buffer.from(schemaBytes(schema.schema)).toString('base64'),
    gateReport,
    provenance,
  })) as PublishedVersion;
}

async function look(
  context: Context,
  schema: LoadedSchema,
  trained: TrainingResult,
  options: TrainOptions & { readonly extractions: Extraction[] },
): Promise<Evaluation & { readonly table: LabelledTable }> {
  const { testLabels: labels, extractions } = options;
  const table = await readLabelledData(context, schema, options.test ?? '', {
    ...{ labels, command: 'train' as const, extractions },
  });
  return { ...evaluateModel(trained.model, table), table };
}

async function noteLook(context: Context, options: TrainOptions, evaluation: Evaluation): Promise<void> {
  const file = options.looks ?? (await defaultLooksFile());
  if (file === undefined) return;
  const { accuracy, fpr, recall, auc } = evaluation.metrics;
  const seen = [
    `accuracy ${accuracy.value.toFixed(4)}`,
    `FPR ${fpr.value.toFixed(4)}`,
    `recall ${recall.value.toFixed(4)}`,
    `AUC ${auc.value.toFixed(4)}`,
  ];
  const data = basename(options.test ?? '');
  await recordTestLook(file, { data, seen: `${seen.join(', ')} (\`guardian train\`)` }, context.clock).catch(
    (cause: unknown) => {
      throw new CliError('cli.usage', `cannot append the look to ${file}`, { cause });
    },
  );
}

function pausesLine({ pauses, pausedMs, byCause }: PauseCounters): string {
  const causes = Object.entries(byCause).filter(([, ms]) => ms > 0);
  const shares = causes.map(([cause, ms]) => `${cause} ${(ms / 1000).toFixed(1)} s`).join(', ');
  return `paused ${count(pauses)} times for ${(pausedMs / 1000).toFixed(1)} s: ${shares}`;
}

function attacksOf(table: LabelledTable): number {
  return table.labels.reduce((sum, label) => sum + label, 0);
}
