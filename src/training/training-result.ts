import type { Digest } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import {
  type BinaryMetrics,
  type BoostedModel,
  binaryMetrics,
  type Calibration,
  encodeModel,
} from '../models/index.ts';
import type { TrainingConfig } from './config.ts';
import { type LabelledTable, tableDigest } from './labelled-table.ts';

/** Where a model came from; goes into its manifest. */
export interface TrainingProvenance {
  readonly dataDigest: Digest;
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly configuration: TrainingConfig;
  readonly seed: number;
  readonly trainer: string;
}

export interface TrainingResult {
  /** The model file. */
  readonly modelBytes: Uint8Array;
  /** Of the model file. */
  readonly digest: Digest;
  readonly model: BoostedModel;
  readonly config: TrainingConfig;
  /** Trees of the detector. */
  readonly rounds: number;
  /** Mean validation loss after each round. */
  readonly validationLoss: readonly number[];
  /** On the calibration part, which the trees have not seen (the calibration and a chosen threshold have). */
  readonly validation: BinaryMetrics;
  readonly threshold: number;
  readonly calibration: Calibration;
  /** The calibration part itself: rows the trees have not seen, for gates and for a certificate. */
  readonly held: LabelledTable;
  /** Numbers of the given table's rows that were fitted on; absent where these lay with others. */
  readonly trainedOn?: Uint32Array;
  readonly rows: {
    readonly given: number;
    readonly train: number;
    readonly validation: number;
    readonly calibration: number;
  };
  /** CPU seconds of this process while training, all threads. */
  readonly trainCpuSeconds: number;
  readonly provenance: TrainingProvenance;
}

/** What a trainer was given; what it may be asked for besides does not matter here. */
export interface TrainedFrom {
  readonly table: LabelledTable;
  readonly schema: LoadedSchema;
  readonly sourceKinds: readonly string[];
  readonly seed: number;
}

/** What a trainer made of it. */
export interface Trained extends Pick<TrainingResult, 'model' | 'config' | 'validationLoss' | 'held'> {
  /** Of the held rows, calibrated. */
  readonly probability: Float32Array;
  readonly trainedOn: Uint32Array | undefined;
  readonly rows: Omit<TrainingResult['rows'], 'given'>;
  /** `process.cpuUsage()` when training began. */
  readonly cpu: NodeJS.CpuUsage;
  readonly trainer: string;
}

/** Writes the model file and tells where the model came from. */
export function trainingResult(
  { table, schema, sourceKinds, seed }: TrainedFrom,
  { probability, trainedOn, rows, cpu, trainer, ...trained }: Trained,
): TrainingResult {
  const { model, config, held } = trained;
  const { threshold, calibration, detector } = model.parts;
  const modelBytes = encodeModel(model);
  const used = process.cpuUsage(cpu);
  return {
    ...trained,
    modelBytes,
    digest: sha256(modelBytes),
    rounds: detector.roots.length,
    validation: binaryMetrics(probability, held.labels, threshold),
    threshold,
    calibration,
    ...(trainedOn && { trainedOn }),
    rows: { given: table.rows, ...rows },
    trainCpuSeconds: (used.user + used.system) / 1e6,
    provenance: {
      dataDigest: tableDigest(table),
      schemaId: schema.id,
      sourceKinds,
      configuration: config,
      seed,
      trainer,
    },
  };
}
