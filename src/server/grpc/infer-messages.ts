import type { LoadedSchema } from '../../features/index.ts';
import type { ScoreColumns } from '../../inference/index.ts';
import { SERVER_LIMITS } from '../limits.ts';
import { answerParameters, outputBytes, outputTexts } from '../oip/infer-answer.ts';
import { findOutput, type InferCall, readId, readTerms, refuseForeign } from '../oip/infer-request.ts';
import {
  checkedValues,
  type InputRows,
  OUTPUTS,
  readShape,
  tensorInvalid,
  valuesFromBytes,
} from '../oip/tensors.ts';

/** A parameter as it is decoded: the field that `parameter_choice` names. */
export interface ParameterMessage {
  readonly parameter_choice?: string;
  readonly [field: string]: unknown;
}

export type ParametersMessage = Readonly<Record<string, ParameterMessage>>;

/** `ModelInferRequest`, decoded with every field there. */
export interface InferRequestMessage {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly parameters: ParametersMessage;
  readonly inputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly number[];
    readonly parameters: ParametersMessage;
    readonly contents: Readonly<Record<string, readonly unknown[]>> | null;
  }[];
  readonly outputs: readonly { readonly name: string; readonly parameters: ParametersMessage }[];
  readonly raw_input_contents: readonly Buffer[];
}

/** A request, checked; `isRaw` where it came, and is answered, in bytes. */
export interface InferMessageCall extends InferCall {
  readonly isRaw: boolean;
}

/** Throws `server.request-invalid`, `server.tensor-invalid`, `server.too-many-rows`, `features.*`. */
export function readInferMessage(message: InferRequestMessage, loaded: LoadedSchema): InferMessageCall {
  const id = readId(message.id);
  const isRaw = message.raw_input_contents.length > 0;
  const { rows, values } = readInput(message, loaded);
  return {
    ...(id !== undefined && id !== '' && { id }),
    rows,
    values,
    outputs: readOutputs(message),
    terms: readTerms(plainParameters(message.parameters)),
    isRaw,
  };
}

/** `ModelInferResponse`: in bytes where the request was, else in typed contents. */
export function writeInferMessage(columns: ScoreColumns, call: InferMessageCall): Record<string, unknown> {
  const { rows, model } = columns;
  const outputs = call.outputs.map(({ index }) => {
    const { name, datatype } = OUTPUTS[index] as (typeof OUTPUTS)[number];
    return { name, datatype, shape: [rows], ...(!call.isRaw && { contents: contentsOf(columns, index) }) };
  });
  return {
    model_name: model.name,
    model_version: model.version,
    id: call.id ?? '',
    parameters: Object.fromEntries(
      Object.entries(answerParameters(columns)).map(([name, text]) => [name, { string_param: text }]),
    ),
    outputs,
    ...(call.isRaw && { raw_output_contents: call.outputs.map(({ index }) => outputBytes(columns, index)) }),
  };
}

/** Parameters by name, each as the value it chose. */
export function plainParameters(parameters: ParametersMessage): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name, value[value.parameter_choice ?? '']]),
  );
}

function readInput(message: InferRequestMessage, loaded: LoadedSchema): InputRows {
  const { inputs, raw_input_contents: raw } = message;
  const [input] = inputs;
  if (input === undefined || inputs.length !== 1)
    throw tensorInvalid(`expected one input, got ${inputs.length}`);
  refuseForeign(plainParameters(input.parameters));
  const rows = readShape(input, loaded.schema.columns.length);
  const { contents } = input;
  if (raw.length > 0) {
    if (raw.length !== 1 || contents !== null) {
      throw tensorInvalid('expected either raw_input_contents, one of each input, or contents');
    }
    return { rows, values: valuesFromBytes(raw[0] as Buffer, rows, loaded) };
  }
  for (const [field, list] of Object.entries(contents ?? {})) {
    if (field !== 'fp32_contents' && list.length > 0)
      throw tensorInvalid(`expected fp32_contents, got ${field}`);
  }
  const list = (contents?.fp32_contents ?? []) as readonly number[];
  if (list.length !== rows * loaded.schema.columns.length) {
    throw tensorInvalid(`expected ${rows * loaded.schema.columns.length} values, got ${list.length}`);
  }
  return { rows, values: checkedValues(Float32Array.from(list), rows, loaded) };
}

function readOutputs({ outputs, raw_input_contents: raw }: InferRequestMessage): InferCall['outputs'] {
  const isBinary = raw.length > 0;
  if (outputs.length === 0) return OUTPUTS.map((_, index) => ({ index, isBinary }));
  if (outputs.length > SERVER_LIMITS.tensors)
    throw tensorInvalid(`expected at most ${SERVER_LIMITS.tensors} outputs`);
  const wanted: InferCall['outputs'][number][] = [];
  for (const { name, parameters } of outputs) {
    refuseForeign(plainParameters(parameters));
    wanted.push({ index: findOutput(name, wanted), isBinary });
  }
  return wanted;
}

function contentsOf(columns: ScoreColumns, index: number): Record<string, unknown> {
  if (OUTPUTS[index]?.datatype === 'FP32') return { fp32_contents: Array.from(columns.probability) };
  return { bytes_contents: outputTexts(columns, index) };
}
