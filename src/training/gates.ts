import { z } from 'zod';
import { type Clock, type Digest, systemClock } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import type { DetectionModel } from '../models/index.ts';
import type { GateReport, GateResult } from '../registry/index.ts';
import { TrainingError } from './errors.ts';
import type { Evaluation } from './evaluate.ts';
import type { LabelledTable } from './labelled-table.ts';

const share = z.number().min(0).max(1);

/** Thresholds a candidate has to keep. Every leaf has a default, unknown keys are refused. */
export const gateConfigSchema = z.strictObject({
  minAccuracy: share.default(0.75),
  /** Highest false positive rate. */
  maxFpr: share.default(0.05),
  minRecall: share.default(0.5),
  /** Median time to score one row by itself, in microseconds on this machine. Lenient: it catches runaways. */
  maxLatencyUs: z.number().positive().default(1000),
  /** Size of the model file. */
  maxBytes: z.int().positive().default(67_108_864),
});

export type GateConfig = z.output<typeof gateConfigSchema>;

export interface GateInputs {
  readonly model: DetectionModel;
  readonly modelBytes: Uint8Array;
  readonly evaluation: Evaluation;
  /** The rows of the evaluation; latency is measured on them. */
  readonly table: LabelledTable;
  readonly dataDigest: Digest;
  readonly clock?: Clock;
}

/** Holds an evaluated model against the gates. A gate that fails is a value; throws training.config-invalid only. */
export function runGates(inputs: GateInputs, config: Partial<GateConfig> = {}): GateReport {
  const parsed = gateConfigSchema.safeParse(config);
  if (!parsed.success) {
    throw new TrainingError('training.config-invalid', z.prettifyError(parsed.error).replaceAll('\n', '; '));
  }
  const limits = parsed.data;
  const { model, modelBytes, evaluation, table, dataDigest, clock = systemClock } = inputs;
  const { confusion, ...metrics } = evaluation.metrics;
  const gates = [
    gate('accuracy', metrics.accuracy.value, '>=', limits.minAccuracy),
    gate('fpr', metrics.fpr.value, '<=', limits.maxFpr),
    gate('recall', metrics.recall.value, '>=', limits.minRecall),
    gate('latency', medianLatencyUs(model, table, clock), '<=', limits.maxLatencyUs),
    gate('size', modelBytes.length, '<=', limits.maxBytes),
  ];
  return {
    v: 1,
    passed: gates.every(({ passed }) => passed),
    gates,
    dataDigest,
    modelDigest: sha256(modelBytes),
    metrics: { rows: evaluation.rows, attacks: evaluation.attacks, confusion, ...metrics },
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

function gate(name: string, value: number, comparison: '>=' | '<=', threshold: number): GateResult {
  const passed = comparison === '>=' ? value >= threshold : value <= threshold;
  return { name, passed, value, threshold, comparison };
}
