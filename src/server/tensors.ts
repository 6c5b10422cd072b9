import { type FeatureBatch, FeatureError, type LoadedSchema } from '../features/index.ts';
import type { Score } from '../models/index.ts';
import { ServerError } from './errors.ts';
import { checkRows } from './handle-events.ts';
import type { InferRequest } from './requests.ts';

/** A tensor as the Open Inference Protocol tells it. */
export interface ResponseTensor {
  readonly name: string;
  readonly datatype: 'FP32' | 'BYTES';
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

export const INPUT_NAME = 'features';

/** Outputs of every model, in order; one value a row. */
export const OUTPUTS = [
  { name: 'probability', datatype: 'FP32', read: (score: Score) => score.probability },
  { name: 'verdict', datatype: 'BYTES', read: (score: Score) => score.verdict },
  { name: 'kind', datatype: 'BYTES', read: (score: Score) => score.kind ?? '' },
] as const satisfies readonly { read: (score: Score) => number | string; [key: string]: unknown }[];

/**
 * The one input, FP32 of shape [n, d], as a batch. JSON has no NaN: null is a missing value. Throws
 * `server.tensor-invalid`, `server.too-many-rows`, `features.not-finite`, `features.missing-value`.
 */
export function readInput(
  inputs: InferRequest['inputs'],
  { schema, id }: LoadedSchema,
): Omit<FeatureBatch, 'sourceKind'> {
  const [input] = inputs;
  if (input === undefined || inputs.length !== 1) throw invalid(`expected one input, got ${inputs.length}`);
  const columns = schema.columns.length;
  if (input.name !== INPUT_NAME) throw invalid(`expected the input ${INPUT_NAME}`);
  if (input.datatype !== 'FP32') throw invalid('expected an input of datatype FP32');
  const [rows, width] = input.shape;
  if (input.shape.length !== 2 || rows === undefined || width !== columns) {
    throw invalid(`expected the shape [n, ${columns}], got [${input.shape.join(', ')}]`);
  }
  checkRows(rows);
  const values = new Float32Array(rows * columns);
  const written = flatten(input.data, values, schema);
  if (written !== values.length) throw invalid(`expected ${values.length} values in data, got ${written}`);
  return { schemaId: id, rows, columns, values, rejected: [] };
}

/** The outputs that were asked for; all of them where none was. Throws `server.tensor-invalid`. */
export function writeOutputs(
  scores: readonly Score[],
  wanted: InferRequest['outputs'],
): readonly ResponseTensor[] {
  const names = wanted?.map(({ name }) => name) ?? OUTPUTS.map(({ name }) => name);
  return names.map((name) => {
    const output = OUTPUTS.find((each) => each.name === name);
    if (output === undefined) {
      throw invalid(`expected outputs among ${OUTPUTS.map((each) => each.name).join(', ')}`);
    }
    return {
      name: output.name,
      datatype: output.datatype,
      shape: [scores.length],
      data: scores.map<number | string>(output.read),
    };
  });
}

/** Flat, or an array a row. Gives the number of values found, also where they do not fit. */
function flatten(data: readonly unknown[], out: Float32Array, schema: LoadedSchema['schema']): number {
  const columns = schema.columns.length;
  let at = 0;
  const put = (value: unknown) => {
    if (at < out.length) out[at] = readNumber(value, at, schema);
    at++;
  };
  for (const part of data) {
    if (!Array.isArray(part)) put(part);
    else {
      if (part.length !== columns)
        throw invalid(`expected rows of ${columns} values, got one of ${part.length}`);
      for (const value of part) put(value);
    }
  }
  return at;
}

function readNumber(value: unknown, at: number, { columns }: LoadedSchema['schema']): number {
  const column = columns[at % columns.length];
  const row = Math.floor(at / columns.length);
  const name = `row ${row}: ${column?.name}`;
  if (value === null) {
    if (column?.missing === 'keep' || column?.invalid === 'missing') return Number.NaN;
    throw new FeatureError('features.missing-value', `${name} must not be missing`);
  }
  if (typeof value !== 'number') throw invalid(`${name}: expected a number`);
  const narrow = Math.fround(value);
  if (!Number.isFinite(narrow)) throw new FeatureError('features.not-finite', `${name} must be finite`);
  const top = column?.type === 'boolean' ? 1 : (column?.categories?.length ?? 0) - 1;
  if (column?.type !== 'number' && !(Number.isInteger(value) && value >= 0 && value <= top)) {
    throw new FeatureError('features.unknown-category', `${name} holds no index from 0 to ${top}`);
  }
  return narrow;
}

function invalid(message: string): ServerError {
  return new ServerError('server.tensor-invalid', message);
}
