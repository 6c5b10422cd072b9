import type { LoadedSchema } from '../features/index.ts';
import {
  BITSET_WORDS,
  BoostedModel,
  CATEGORICAL,
  encodeModel,
  fitStatistics,
  type ImportedTrees,
  importLightGbm,
  importOnnxTrees,
  sumMargins,
  type TreeEnsemble,
} from '../models/index.ts';
import {
  type AdoptionInput,
  type AdoptionProvenance,
  type AdoptionRows,
  adoptionProvenance,
  fitDecision,
  halveRows,
} from './adopted.ts';
import { TrainingError } from './errors.ts';
import { categoryCounts, modelColumns } from './labelled-table.ts';

export interface AdoptTreesInput extends AdoptionInput {
  /** Whether the trees were trained on values before the schema's log1p; else on its vectors. */
  readonly isRaw: boolean;
}

export interface AdoptedTrees extends Pick<AdoptionRows, 'held' | 'fittedOn'> {
  readonly model: BoostedModel;
  readonly modelBytes: Uint8Array;
  readonly provenance: AdoptionProvenance;
}

/**
 * Makes a native candidate of trees that another library trained (LightGBM's text, or ONNX): their columns must be the
 * schema's, in its order; calibration, threshold and statistics are fitted on the given rows. Throws
 * `training.trees-refused` where they do not fit the schema or give no log-odds, and what the readers throw.
 */
export function adoptTrees(input: AdoptTreesInput): AdoptedTrees {
  const { file, schema, thresholdPolicy, isRaw } = input;
  const { fitted, held, fittedOn } = halveRows(input);
  const format = isLightGbm(file) ? 'lightgbm' : 'onnx';
  const trees =
    format === 'lightgbm' ? importLightGbm(new TextDecoder().decode(file)) : importOnnxTrees(file);
  const detector = fitToSchema(trees, schema, isRaw);
  const margins = sumMargins(detector, trees.bias, fitted.values, fitted.rows);
  const { calibration, threshold } = fitDecision(margins, fitted, thresholdPolicy);
  const model = new BoostedModel({
    schemaId: schema.id,
    sourceKinds: schema.schema.sourceKinds,
    columns: modelColumns(schema),
    kinds: [],
    threshold,
    bias: trees.bias,
    detector,
    calibration,
    statistics: fitStatistics(fitted.values, fitted.rows, categoryCounts(schema), margins),
  });
  const facts = { values: isRaw ? 'raw' : 'vectors' };
  return {
    ...{ model, modelBytes: encodeModel(model), held, fittedOn },
    provenance: adoptionProvenance(input, { method: 'imported trees', format, facts }),
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
