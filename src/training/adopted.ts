import type { Digest, Probability } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import { type Calibration, calibrate, fitPlatt } from '../models/index.ts';
import { resolveTrainingConfig, type TrainingConfig } from './config.ts';
import { splitStratified } from './data-split.ts';
import { TrainingError } from './errors.ts';
import { checkTable, type LabelledTable, selectRows, tableDigest } from './labelled-table.ts';
import { chooseThreshold } from './threshold.ts';

/** What a model of another library is taken in with. */
export interface AdoptionInput {
  readonly file: Uint8Array;
  readonly schema: LoadedSchema;
  /** Labelled rows: one half calibrates and chooses the threshold, the gates are run on the other. */
  readonly table: LabelledTable;
  readonly thresholdPolicy: TrainingConfig['thresholdPolicy'];
  readonly seed: number;
}

/** Where a model came from, as its manifest says. */
export interface AdoptionProvenance {
  readonly dataDigest: Digest;
  readonly schemaId: Digest;
  readonly sourceKinds: readonly string[];
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly trainer: string;
}

/** The halves of the rows. */
export interface AdoptionRows {
  readonly fitted: LabelledTable;
  /** Rows that nothing was fitted on here; whether their trainer knew them cannot be told. */
  readonly held: LabelledTable;
  readonly fittedOn: Uint32Array;
}

/** Share of the rows that the gates are run on. */
const HELD_SHARE = 0.5;

/** Throws `training.too-few-rows` where a half lacks a class, and as `checkTable`. */
export function halveRows({ table, seed }: AdoptionInput): AdoptionRows {
  checkTable(table);
  const all = Uint32Array.from(table.labels.keys());
  const split = splitStratified(table, all, { validation: 0, calibration: HELD_SHARE }, seed);
  const [fitted, held] = [selectRows(table, split.train), selectRows(table, split.calibration)];
  for (const { labels } of [fitted, held]) {
    if (!labels.includes(0) || !labels.includes(1)) {
      throw new TrainingError('training.too-few-rows', 'expected normal and attack rows, several of each');
    }
  }
  return { fitted, held, fittedOn: split.train };
}

/** Calibration by Platt and the threshold of the policy, from the log-odds of the rows. */
export function fitDecision(
  margins: Float64Array,
  { labels }: LabelledTable,
  thresholdPolicy: TrainingConfig['thresholdPolicy'],
): { readonly calibration: Calibration; readonly threshold: Probability } {
  const calibration = fitPlatt(margins, labels);
  const probability = Float32Array.from(margins, (margin) => calibrate(calibration, margin));
  return { calibration, threshold: chooseThreshold(thresholdPolicy, probability, labels) };
}

/** `facts` stand in the configuration between what was taken in and how it was calibrated. */
export function adoptionProvenance(
  { file, schema, table, seed, thresholdPolicy }: AdoptionInput,
  given: {
    readonly method: string;
    readonly format: string;
    readonly facts: Readonly<Record<string, unknown>>;
  },
): AdoptionProvenance {
  const { method, format, facts } = given;
  return {
    dataDigest: tableDigest(table),
    schemaId: schema.id,
    sourceKinds: schema.schema.sourceKinds,
    configuration: {
      method,
      origin: { format, digest: sha256(file), bytes: file.length },
      ...facts,
      heldShare: HELD_SHARE,
      thresholdPolicy: resolveTrainingConfig({ thresholdPolicy }).thresholdPolicy,
    },
    seed,
    trainer: `import of ${format} ${sha256(file)}`,
  };
}
