import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Clock, Digest } from '../base/index.ts';
import { DataFile, type DataKeyOpener } from '../crypto/index.ts';
import { type LoadedSchema, parseSchema, readTable } from '../features/index.ts';
import { LabLabels } from '../lab/index.ts';
import type { DetectionModel } from '../models/index.ts';
import type {
  CertificationInput,
  CertificationResult,
  Drift,
  EvaluationInput,
  EvaluationResult,
  GateDataFacts,
  GateDataFiles,
  GateEvaluator,
  VerifiedModel,
} from '../registry/index.ts';
import { type MeterOptions, openFlowSource } from '../traffic/index.ts';
import { certifyModel } from './certify-model.ts';
import { TrainingError } from './errors.ts';
import { type Evaluation, evaluateModel } from './evaluate.ts';
import type { GateConfig } from './gates/config.ts';
import { runGates } from './gates.ts';
import { labelFlows } from './labelled-flows.ts';
import type { LabelledTable } from './labelled-table.ts';

export interface GateEvaluatorOptions {
  readonly gates: Partial<GateConfig>;
  readonly meter: Partial<MeterOptions>;
  readonly clock: Clock;
  /** Opens the key of sealed data; such data are refused where absent. */
  readonly openKey?: DataKeyOpener;
  /** Makes a model that needs a runtime one that can be scored here; native models come back as they are. */
  readonly openModel?: (model: DetectionModel) => Promise<OpenModel>;
}

/** A model that can be scored until it is closed. */
export interface OpenModel {
  readonly model: DetectionModel;
  close(): Promise<void>;
}

/** Metrics whose difference to the champion's is told. */
const COMPARED = ['accuracy', 'precision', 'recall', 'f1', 'fpr', 'auc'] as const;
const PSI_BINS = 10;

/** The evaluator that the registry is given: tables by their schema, or flows with a file of labels. */
export function createGateEvaluator(options: GateEvaluatorOptions): GateEvaluator {
  return {
    inspect: async (files, schemaBytes) =>
      factsOf(await readGateData(files, parseSchema(schemaBytes), options)),
    evaluate: (input) =>
      withModels([input.candidate, input.champion], options, ([candidate, champion]) =>
        evaluate({ ...input, candidate: candidate as Scored, champion }, options),
      ),
    certify: (input) =>
      withModels([input.candidate], options, ([candidate]) =>
        certifyOnData({ ...input, candidate: candidate as Scored }, options),
      ),
  };
}

/**
 * How two models' scores of the same rows differ. PSI is the sum over ten equal bins of (p - q) ln(p / q), half a row
 * added to each so that an empty bin counts and does not blow up; KS is the largest distance of the two cumulative
 * distributions.
 */
export function scoreDrift(
  candidate: Float32Array,
  champion: Float32Array,
): { readonly psi: number; readonly ks: number } {
  const [p, q] = [binShares(candidate), binShares(champion)];
  let psi = 0;
  for (let i = 0; i < PSI_BINS; i++) {
    const [a, b] = [p[i] as number, q[i] as number];
    psi += (a - b) * Math.log(a / b);
  }
  return { psi, ks: largestDistance(candidate, champion) };
}

/** What is evaluated of a verified model, its scoring opened. */
type Scored = Pick<VerifiedModel, 'version' | 'digest' | 'schemaBytes' | 'model'>;

async function withModels<T>(
  verified: readonly (VerifiedModel | undefined)[],
  { openModel }: GateEvaluatorOptions,
  work: (models: readonly (Scored | undefined)[]) => Promise<T>,
): Promise<T> {
  const opened: OpenModel[] = [];
  try {
    const models: (Scored | undefined)[] = [];
    for (const each of verified) {
      if (each === undefined || openModel === undefined) {
        models.push(each);
        continue;
      }
      const open = await openModel(each.model);
      opened.push(open);
      const { version, digest, schemaBytes } = each;
      models.push({ version, digest, schemaBytes, model: open.model });
    }
    return await work(models);
  } finally {
    for (const open of opened) await open.close();
  }
}

async function evaluate(
  input: Omit<EvaluationInput, 'candidate' | 'champion'> & {
    readonly candidate: Scored;
    readonly champion: Scored | undefined;
  },
  options: GateEvaluatorOptions,
): Promise<EvaluationResult> {
  const { files, digest, candidate, weights, champion } = input;
  const schema = parseSchema(candidate.schemaBytes);
  const table = await readGateData(files, schema, options);
  const facts = factsOf(table);
  const evaluation = evaluateModel(candidate.model, table);
  const isOnData = champion !== undefined && facts.digest === digest;
  const report = runGates(
    {
      model: candidate.model,
      modelBytes: weights,
      evaluation,
      table,
      schema,
      dataDigest: facts.digest,
      clock: options.clock,
      // Other data than asked for are the registry's to refuse; nothing is compared on them.
      ...(isOnData && { champion }),
    },
    options.gates,
  );
  const drift = isOnData ? compare(evaluation, champion, table) : null;
  // A ratio without a denominator is NaN here and null in what is signed.
  return { ...facts, gates: { ...report, metrics: JSON.parse(JSON.stringify(report.metrics)) }, drift };
}

async function certifyOnData(
  input: Omit<CertificationInput, 'candidate'> & { readonly candidate: Scored },
  options: GateEvaluatorOptions,
): Promise<CertificationResult> {
  const { files, candidate, origin, target, expiresDays } = input;
  const schema = parseSchema(candidate.schemaBytes);
  const table = await readGateData(files, schema, options);
  const { model, digest: modelDigest } = candidate;
  const { clock } = options;
  const certified = certifyModel({ model, modelDigest, schema, table, origin, target, expiresDays, clock });
  return { ...factsOf(table), ...certified };
}

function compare(evaluation: Evaluation, champion: Scored, table: LabelledTable): Drift {
  const before = evaluateModel(champion.model, table);
  const metrics: Record<string, number> = {};
  for (const name of COMPARED) {
    const difference = evaluation.metrics[name].value - before.metrics[name].value;
    if (Number.isFinite(difference)) metrics[name] = difference;
  }
  const { version, digest } = champion;
  return { version, digest, ...scoreDrift(evaluation.probability, before.probability), metrics };
}

async function readGateData(
  files: GateDataFiles,
  schema: LoadedSchema,
  { meter, openKey }: GateEvaluatorOptions,
): Promise<LabelledTable> {
  const { path, labels } = files;
  for (const file of [path, labels]) if (file !== undefined) await checkPlain(file);
  const opened: DataFile[] = [];
  const open = async (file: string): Promise<DataFile> => {
    const data = await DataFile.open(file, openKey ?? refuseSealed);
    opened.push(data);
    return data;
  };
  try {
    const data = await open(path);
    const bytes = await data.bytes();
    // A table's digest is taken from the very bytes that are parsed.
    if (schema.schema.kind === 'table') return await readTable(path, schema, { bytes });
    if (labels === undefined) {
      throw new TrainingError('training.table-invalid', 'expected a file of labels beside the flows');
    }
    const labelsFile = await open(labels);
    const digest = await digestOf([data, labelsFile]);
    const source = await openFlowSource(path, { ...meter, ...(bytes && { bytes }) });
    const labelled = LabLabels.parse(await labelsFile.text());
    const table = await labelFlows({
      batches: source.batches(),
      schema,
      labelOf: (flow) => labelled.labelOf(flow),
      digest,
    });
    if ((await digestOf([data, labelsFile])) !== digest) {
      throw new TrainingError(
        'training.table-invalid',
        'the flows or their labels changed while they were read',
      );
    }
    return table;
  } finally {
    for (const data of opened) data.close();
  }
}

async function refuseSealed(): Promise<never> {
  throw new TrainingError('training.table-invalid', 'expected plain files: there is no key for sealed ones');
}

/** A pipe or a device may never end, and the registry's other changes wait. Throws `training.table-invalid`. */
async function checkPlain(path: string): Promise<void> {
  if (!(await stat(path)).isFile()) throw new TrainingError('training.table-invalid', 'expected plain files');
}

function factsOf({ rows, labels, digest }: LabelledTable): GateDataFacts {
  if (digest === undefined) throw new TrainingError('training.table-invalid', 'expected data with a digest');
  return { digest, rows, attacks: labels.reduce((sum, label) => sum + label, 0) };
}

/** Over the bytes of the files, one after the other; of what they hold where they are sealed. */
async function digestOf(files: readonly DataFile[]): Promise<Digest> {
  const hash = createHash('sha256');
  for (const file of files) for await (const chunk of await file.content()) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

function binShares(scores: Float32Array): readonly number[] {
  const counts = new Array<number>(PSI_BINS).fill(0.5);
  for (const score of scores) {
    const bin = Math.max(0, Math.min(PSI_BINS - 1, Math.floor(score * PSI_BINS)));
    counts[bin] = (counts[bin] as number) + 1;
  }
  return counts.map((count) => count / (scores.length + PSI_BINS / 2));
}

function largestDistance(a: Float32Array, b: Float32Array): number {
  if (a.length === 0 || b.length === 0) return 0;
  const [x, y] = [Float32Array.from(a).sort(), Float32Array.from(b).sort()];
  let [i, j, largest] = [0, 0, 0];
  while (i < x.length && j < y.length) {
    const at = Math.min(x[i] as number, y[j] as number);
    while (i < x.length && (x[i] as number) <= at) i++;
    while (j < y.length && (y[j] as number) <= at) j++;
    largest = Math.max(largest, Math.abs(i / x.length - j / y.length));
  }
  return largest;
}
