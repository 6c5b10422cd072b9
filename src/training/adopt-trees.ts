import type { Digest } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import type { LoadedSchema } from '../features/index.ts';
import {
  BITSET_WORDS,
  BoostedModel,
  CATEGORICAL,
  type Calibration,
  calibrate,
  encodeModel,
  fitPlatt,
  fitStatistics,
  type ImportedTrees,
  importLightGbm,
  importOnnxTrees,
  sumMargins,
  type TreeEnsemble,
} from '../models/index.ts';
import { resolveTrainingConfig, type TrainingConfig } from './config.ts';
import { splitStratified } from './data-split.ts';
import { TrainingError } from './errors.ts';
import {
  categoryCounts,
  checkTable,
  type LabelledTable,
  modelColumns,
  selectRows,
  tableDigest,
} from './labelled-table.ts';
import { chooseThreshold } from './threshold.ts';

export interface AdoptTreesInput {
  /** A file of another library: LightGBM's text, or ONNX. */
  readonly file: Uint8Array;
  readonly schema: LoadedSchema;
  /** Labelled rows: one half calibrates and chooses the threshold, the gates are run on the other. */
  readonly table: LabelledTable;
  /** Whether the trees were trained on values before the schema's log1p; else on its vectors. */
  readonly isRaw: boolean;
  readonly thresholdPolicy: TrainingConfig['thresholdPolicy'];
  readonly seed: number;
}

export interface AdoptedTrees {
  readonly model: BoostedModel;
  readonly modelBytes: Uint8Array;
  readonly calibration: Calibration;
  readonly threshold: number;
  /** Rows that nothing was fitted on here; whether their trainer knew them cannot be told. */
  readonly held: LabelledTable;
  readonly fittedOn: Uint32Array;
  readonly provenance: {
    readonly dataDigest: Digest;
    readonly schemaId: Digest;
    readonly sourceKinds: readonly string[];
    readonly configuration: unknown;
    readonly seed: number;
    readonly trainer: string;
  };
}

/** Share of the rows that the gates are run on. */
const HELD_SHARE = 0.5;

/**
 * Makes a native candidate of trees that another library trained: their columns must be the schema's, in its order; calibration,
 * threshold and statistics are fitted on the given rows. Throws `training.trees-refused` where they do not fit the schema
 * or give no log-odds, and what the readers throw.
 */
export function adoptTrees(input: AdoptTreesInput): AdoptedTrees {
  const { file, schema, table, seed, thresholdPolicy, isRaw } = input;
  checkTable(table);
  const format = isLightGbm(file) ? 'lightgbm' : 'onnx';
  const trees =
    format === 'lightgbm' ? importLightGbm(new TextDecoder().decode(file)) : importOnnxTrees(file);
  const categories = categoryCounts(schema);
  const detector = fitToSchema(trees, schema, isRaw);
  const all = Uint32Array.from(table.labels.keys());
  const split = splitStratified(table, all, { validation: 0, calibration: HELD_SHARE }, seed);
  const [fitted, held] = [selectRows(table, split.train), selectRows(table, split.calibration)];
  const margins = sumMargins(detector, trees.bias, fitted.values, fitted.rows);
  for (const { labels } of [fitted, held]) {
    if (!labels.includes(0) || !labels.includes(1)) {
      throw new TrainingError('training.too-few-rows', 'expected normal and attack rows, several of each');
    }
  }
  const calibration = fitPlatt(margins, fitted.labels);
  const probability = Float32Array.from(margins, (margin) => calibrate(calibration, margin));
  const threshold = chooseThreshold(thresholdPolicy, probability, fitted.labels);
  const { sourceKinds } = schema.schema;
  const model = new BoostedModel({
    schemaId: schema.id,
    sourceKinds,
    columns: modelColumns(schema),
    kinds: [],
    threshold,
    bias: trees.bias,
    detector,
    calibration,
    statistics: fitStatistics(fitted.values, fitted.rows, categories, margins),
  });
  return {
    model,
    modelBytes: encodeModel(model),
    calibration,
    threshold,
    held,
    fittedOn: split.train,
    provenance: {
      dataDigest: tableDigest(table),
      schemaId: schema.id,
      sourceKinds,
      configuration: {
        method: 'imported trees',
        origin: { format, digest: sha256(file), bytes: file.length },
        values: isRaw ? 'raw' : 'vectors',
        heldShare: HELD_SHARE,
        thresholdPolicy: resolveTrainingConfig({ thresholdPolicy }).thresholdPolicy,
      },
      seed,
      trainer: `import of ${format} ${sha256(file)}`,
    },
  };
}

/** A text model begins with the word `tree` on a line of its own; ONNX is a protocol buffer. */
function isLightGbm(file: Uint8Array): boolean {
  return /^\s*tree\r?\n/.test(new TextDecoder('latin1').decode(file.subarray(0, 64)));
}

/** Splits as our columns want them: categories by bitset, numbers by a threshold of the vector. */
function fitToSchema(trees: ImportedTrees, { schema }: LoadedSchema, isRaw: boolean): TreeEnsemble {
  if (trees.link === 'identity') {
    throw refused(
      'its leaves are probabilities, as a forest has them; only trees that add up to log-odds fit',
    );
  }
  if (trees.columns !== schema.columns.length) {
    throw refused(`it has ${trees.columns} columns, the schema ${schema.name} ${schema.columns.length}`);
  }
  const { child, feature, flags, value, block, bitsets } = trees.ensemble;
  const words = [...bitsets];
  const [newFlags, newValue, newBlock] = [flags.slice(), value.slice(), block.slice()];
  for (let n = 0; n < child.length; n++) {
    if (child[n] === 0) continue;
    const column = schema.columns[feature[n] as number];
    const isCategorical = ((flags[n] as number) & CATEGORICAL) !== 0;
    if (column?.categories === undefined) {
      if (isCategorical)
        throw refused(`it splits ${column?.name} by category, and the schema has numbers there`);
      if (isRaw && column?.transform === 'log1p') newValue[n] = Math.log1p(Math.max(-1, value[n] as number));
      if (!Number.isFinite(newValue[n])) newValue[n] = -3.4028234663852886e38;
    } else if (!isCategorical) {
      // Whoever took the index of a category for a number asked whether it is at most the threshold.
      newFlags[n] = (flags[n] as number) | CATEGORICAL;
      newBlock[n] = words.length / BITSET_WORDS;
      words.push(...bitsUpTo(value[n] as number));
      newValue[n] = 0;
    }
  }
  return {
    ...trees.ensemble,
    flags: newFlags,
    value: newValue,
    block: newBlock,
    bitsets: Uint32Array.from(words),
  };
}

function bitsUpTo(threshold: number): number[] {
  const words = new Array<number>(BITSET_WORDS).fill(0);
  for (let c = 0; c < BITSET_WORDS * 32 && c <= threshold; c++) {
    words[c >> 5] = ((words[c >> 5] as number) | (1 << (c & 31))) >>> 0;
  }
  return words;
}

function refused(why: string): TrainingError {
  return new TrainingError('training.trees-refused', `the trees cannot be taken in: ${why}`);
}
