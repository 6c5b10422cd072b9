import { z } from 'zod';
import { type Clock, type Digest, systemClock } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import type { DetectionModel, Interval } from '../models/index.ts';
import type { GateReport, GateResult, SkippedGate } from '../registry/index.ts';
import { TrainingError } from './errors.ts';
import { type Evaluation, evaluateModel } from './evaluate.ts';
import { calibrationError } from './gates/calibration-error.ts';
import { type GateConfig, gateConfigSchema } from './gates/config.ts';
import { countDuplicates, schemaMismatches, strongestColumn } from './gates/data-checks.ts';
import { pairedDifference } from './gates/paired-difference.ts';
import { measureRobustness } from './gates/robustness.ts';
import type { LabelledTable } from './labelled-table.ts';

export interface GateInputs {
  readonly model: DetectionModel;
  readonly modelBytes: Uint8Array;
  readonly evaluation: Evaluation;
  /** The rows of the evaluation; latency and robustness are measured on them. */
  readonly table: LabelledTable;
  /** What the table was read by. */
  readonly schema: LoadedSchema;
  readonly dataDigest: Digest;
  readonly clock?: Clock;
  /** Present where the gates are run by who trained. */
  readonly training?: TrainingFacts;
  /** A model of the same schema to compare with; a text says why there is none. */
  readonly champion?: { readonly model: DetectionModel; readonly version: string } | string;
}

/** What only the one who trained can say. */
export interface TrainingFacts {
  /** The table that was trained on, and the numbers of the rows that were; absent where rows lay with others. */
  readonly rows?: { readonly table: LabelledTable; readonly numbers: ArrayLike<number> };
  readonly cpuSeconds: number;
  /** Highest resident memory of the process. */
  readonly peakBytes: number;
}

/** Gates for kinds at most: the ones found worst. */
const KIND_GATES = 200;

/**
 * Holds an evaluated model against the gates: quality with intervals and by kind, the champion on the same rows, calibration,
 * robustness, data, speed, size and what training took. A gate that fails is a value, one that cannot be run is listed as
 * skipped; throws training.config-invalid only.
 */
export function runGates(inputs: GateInputs, config: Partial<GateConfig> = {}): GateReport {
  const parsed = gateConfigSchema.safeParse(config);
  if (!parsed.success) {
    throw new TrainingError('training.config-invalid', z.prettifyError(parsed.error).replaceAll('\n', '; '));
  }
  const limits = parsed.data;
  const { modelBytes, evaluation, dataDigest, clock = systemClock } = inputs;
  const { confusion, ...metrics } = evaluation.metrics;
  const findings: Findings = { gates: [], skipped: [], metrics: {} };
  checkQuality(inputs, limits, findings);
  checkChampion(inputs, limits, findings);
  checkKinds(inputs, limits, findings);
  checkCalibration(inputs, limits, findings);
  checkRobustness(inputs, limits, findings);
  checkData(inputs, limits, findings);
  checkResources(inputs, limits, findings, clock);
  const { gates, skipped } = findings;
  return {
    v: 2,
    passed: gates.every(({ passed }) => passed),
    gates,
    skipped,
    dataDigest,
    modelDigest: sha256(modelBytes),
    metrics: {
      rows: evaluation.rows,
      attacks: evaluation.attacks,
      confusion,
      ...metrics,
      ...findings.metrics,
    },
    createdAt: new Date(clock.now()).toISOString(),
  };
}

/**
 * Median microseconds to score one row in a call of its own: 64 rows a reading, 101 readings, rows taken in turn, since
 * repeating one would flatter the branch predictor. 0 without rows.
 */
export function medianLatencyUs(
  model: DetectionModel,
  table: Pick<LabelledTable, 'rows' | 'columns' | 'values'>,
  clock: Clock,
): number {
  const { rows, columns, values } = table;
  if (rows === 0) return 0;
  const out = { probability: new Float32Array(1), kind: new Int16Array(1) };
  const readings: number[] = [];
  let row = 0;
  // The first readings warm the code up and do not count.
  for (let reading = -20; reading < 101; reading++) {
    const start = clock.monotonic();
    for (let i = 0; i < 64; i++) {
      model.score(values.subarray(row * columns, (row + 1) * columns), 1, out);
      row = (row + 1) % rows;
    }
    if (reading >= 0) readings.push(((clock.monotonic() - start) * 1000) / 64);
  }
  return readings.sort((a, b) => a - b)[50] as number;
}

interface Findings {
  readonly gates: GateResult[];
  readonly skipped: SkippedGate[];
  readonly metrics: Record<string, unknown>;
}

function checkQuality({ evaluation }: GateInputs, limits: GateConfig, { gates }: Findings): void {
  const { accuracy, fpr, recall } = evaluation.metrics;
  gates.push(
    gate('accuracy', accuracy, '>=', limits.minAccuracy),
    gate('fpr', fpr, '<=', limits.maxFpr),
    gate('recall', recall, '>=', limits.minRecall),
  );
}

/** The low end counts: a candidate has to show that it is no worse, and few rows show little. */
function checkChampion(inputs: GateInputs, limits: GateConfig, { gates, skipped, metrics }: Findings): void {
  const { champion = 'there is none of this schema', evaluation, table, model } = inputs;
  if (typeof champion === 'string') {
    skipped.push({ name: 'champion', reason: champion });
    return;
  }
  const theirs = evaluateModel(champion.model, table);
  const difference = pairedDifference({
    candidate: { probability: evaluation.probability, threshold: model.threshold },
    champion: { probability: theirs.probability, threshold: champion.model.threshold },
    labels: table.labels,
  });
  if (difference === undefined) {
    skipped.push({ name: 'champion', reason: 'the rows are of one class only' });
    return;
  }
  metrics.champion = { version: champion.version, balancedAccuracy: difference };
  const { value, low, high, candidateOnly, championOnly } = difference;
  const detail = `balanced accuracy ${signed(value)} against ${champion.version}; rows only one got right: ${candidateOnly} this, ${championOnly} that`;
  gates.push({ ...gate('champion', low, '>=', -limits.maxWorse), low, high, detail });
}

function checkKinds({ evaluation }: GateInputs, limits: GateConfig, { gates, skipped }: Findings): void {
  const judged = evaluation.kinds.filter(({ rows }) => rows >= limits.minKindRows);
  const few = evaluation.kinds.filter(({ rows }) => rows < limits.minKindRows);
  const floorOf = (kind: string): number => limits.kindRecall[kind] ?? limits.minKindRecall;
  const slack = ({ kind, detected }: (typeof judged)[number]): number => detected.value - floorOf(kind);
  for (const each of judged.sort((a, b) => slack(a) - slack(b)).slice(0, KIND_GATES)) {
    const { kind, detected, rows } = each;
    gates.push({
      ...gate(`recall ${kind}`.slice(0, 128), detected, '>=', floorOf(kind)),
      detail: `of ${rows} rows`,
    });
  }
  if (few.length > 0) {
    const names = few.map(({ kind }) => kind).join(', ');
    const reason = `fewer than ${limits.minKindRows} rows of ${few.length} kinds: ${names}`;
    skipped.push({ name: 'recall by kind', reason: reason.slice(0, 512) });
  }
}

function checkCalibration(
  { evaluation, table }: GateInputs,
  limits: GateConfig,
  { gates, metrics }: Findings,
): void {
  const error = calibrationError(evaluation.probability, table.labels, limits.calibrationBins);
  metrics.calibration = error;
  gates.push(
    {
      ...gate('calibration', error.expected, '<=', limits.maxCalibrationError),
      detail: `expected error over ${limits.calibrationBins} bins of equal width`,
    },
    gate('brier', error.brier, '<=', limits.maxBrier),
  );
}

function checkRobustness(inputs: GateInputs, limits: GateConfig, found: Findings): void {
  const { model, schema, table } = inputs;
  const robustness = measureRobustness(model, schema, table, limits);
  if (robustness === undefined) {
    const reason = 'the schema has no column that an attacker moves by rule, or the rows hold no attack';
    found.skipped.push({ name: 'robustness', reason });
    return;
  }
  const { rows, movedColumns, recall, movedRecall, loss } = robustness;
  found.metrics.robustness = robustness;
  found.gates.push({
    ...gate('robustness', loss, '<=', limits.maxRecallLoss),
    detail: `recall ${recall.value.toFixed(4)} falls to ${movedRecall.value.toFixed(4)} on ${rows} attacks, ${movedColumns.length} columns moved by up to ${limits.reachFactor}x`,
  });
}

function checkData(inputs: GateInputs, limits: GateConfig, { gates, skipped }: Findings): void {
  const { model, schema, table, training } = inputs;
  const mismatches = schemaMismatches(model, schema);
  gates.push({
    ...gate('schema', mismatches.length, '<=', 0),
    ...(mismatches.length > 0 && { detail: `columns that differ: ${mismatches.join(', ')}`.slice(0, 256) }),
  });
  if (training?.rows === undefined) {
    skipped.push({ name: 'duplicates', reason: 'the rows that were trained on are not here' });
  } else {
    const count = countDuplicates(table, training.rows.table, training.rows.numbers);
    const share = table.rows === 0 ? 0 : count / table.rows;
    gates.push({
      ...gate('duplicates', share, '<=', limits.maxDuplicateShare),
      detail: `${count} of ${table.rows} rows stand among those trained on`,
    });
  }
  const strongest = strongestColumn(table, schema);
  if (strongest === undefined) skipped.push({ name: 'label-leak', reason: 'a class has under 100 rows' });
  else {
    gates.push({
      ...gate('label-leak', strongest.accuracy, '<=', limits.maxStumpAccuracy),
      detail: `balanced accuracy of ${strongest.column} by itself`,
    });
  }
}

function checkResources(
  { model, modelBytes, table, training }: GateInputs,
  limits: GateConfig,
  { gates, skipped }: Findings,
  clock: Clock,
): void {
  gates.push(
    gate('latency', medianLatencyUs(model, table, clock), '<=', limits.maxLatencyUs),
    gate('size', modelBytes.length, '<=', limits.maxBytes),
  );
  if (training === undefined) {
    const reason = 'only the one who trained knows';
    skipped.push({ name: 'train-cpu', reason }, { name: 'train-memory', reason });
    return;
  }
  gates.push(
    gate('train-cpu', training.cpuSeconds, '<=', limits.maxTrainCpuSeconds),
    gate('train-memory', training.peakBytes, '<=', limits.maxTrainBytes),
  );
}

function gate(
  name: string,
  measured: number | Interval,
  comparison: '>=' | '<=',
  threshold: number,
): GateResult {
  const value = typeof measured === 'number' ? measured : measured.value;
  const interval = typeof measured === 'number' ? {} : { low: measured.low, high: measured.high };
  const passed = comparison === '>=' ? value >= threshold : value <= threshold;
  return { name, passed, value, threshold, comparison, ...interval };
}

function signed(difference: number): string {
  return `${difference >= 0 ? '+' : ''}${difference.toFixed(4)}`;
}
