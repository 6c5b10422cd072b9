import type { Milliseconds } from '../../base/index.ts';
import type { LoadedSchema } from '../../features/index.ts';
import { ServerError } from '../errors.ts';
import { SERVER_LIMITS } from '../limits.ts';
import {
  type DeclaredTensor,
  type InputRows,
  OUTPUTS,
  readShape,
  tensorInvalid,
  valuesFromBytes,
  valuesFromList,
} from './tensors.ts';

/** An output that was asked for: which of `OUTPUTS`, and whether as bytes after the JSON. */
export interface WantedOutput {
  readonly index: number;
  readonly isBinary: boolean;
}

/** How an answer is wanted. */
export interface InferTerms {
  /** Until when it is of use, from now. */
  readonly deadlineMs?: Milliseconds;
  readonly priority: 'live' | 'batch';
}

/** An inference request, checked. */
export interface InferCall extends InputRows {
  readonly id?: string;
  readonly outputs: readonly WantedOutput[];
  readonly terms: InferTerms;
}

type Fields = Readonly<Record<string, unknown>>;

const NO_FIELDS: Fields = {};
const ALL_AS_JSON = OUTPUTS.map((_, index): WantedOutput => ({ index, isBinary: false }));
const ALL_AS_BYTES = OUTPUTS.map((_, index): WantedOutput => ({ index, isBinary: true }));
const LIVE: InferTerms = { priority: 'live' };
/** Parameters of extensions that the server metadata does not list. */
const FOREIGN = ['shared_memory_region', 'classification'] as const;

/**
 * Checks the JSON of a request by hand: this is the way of every single event. `blob` holds what follows the JSON,
 * and is used up to its last byte. Throws `server.request-invalid`, `server.tensor-invalid`, `server.too-many-rows`,
 * `features.*`.
 */
export function readInferRequest(body: unknown, blob: Uint8Array, loaded: LoadedSchema): InferCall {
  const request = fields(body, 'body');
  const parameters = optionalFields(request.parameters, 'body.parameters');
  const id = readId(request.id);
  const outputs = readOutputs(request.outputs, parameters.binary_data_output);
  const terms = readTerms(parameters);
  const input = readInput(request.inputs, blob, loaded);
  return { ...(id !== undefined && { id }), rows: input.rows, values: input.values, outputs, terms };
}

/** The name of a request, which its answer repeats. Throws `server.request-invalid`. */
export function readId(id: unknown): string | undefined {
  if (id === undefined || (typeof id === 'string' && id.length <= SERVER_LIMITS.requestIdLength)) return id;
  throw invalid('body.id', `a text of at most ${SERVER_LIMITS.requestIdLength} characters`);
}

/**
 * Deadline and priority from the parameters that Triton's clients send: `timeout` in microseconds, 0 for none, and
 * `priority`, where 0 is the default, 1 comes first and every higher number later; here also 'live' or 'batch'. Throws
 * `server.request-invalid`.
 */
export function readTerms({ timeout, priority }: Fields): InferTerms {
  if (timeout === undefined && priority === undefined) return LIVE;
  if (timeout !== undefined && !(isWhole(timeout) && timeout >= 0)) {
    throw invalid('body.parameters.timeout', 'whole microseconds');
  }
  return {
    priority: readPriority(priority),
    ...(timeout !== undefined && timeout > 0 && { deadlineMs: (timeout as number) / 1000 }),
  };
}

/** Throws `server.tensor-invalid` where one is not among `OUTPUTS`, or is wanted twice. */
export function findOutput(name: unknown, before: readonly WantedOutput[]): number {
  const index = OUTPUTS.findIndex((each) => each.name === name);
  if (index < 0) throw tensorInvalid(`expected outputs among ${OUTPUTS.map((each) => each.name).join(', ')}`);
  if (before.some((each) => each.index === index)) throw tensorInvalid(`the output ${name} is wanted twice`);
  return index;
}

/** Throws `server.tensor-invalid` where a tensor asks for an extension that the server does not have. */
export function refuseForeign(parameters: Fields): void {
  for (const name of FOREIGN) {
    if (parameters[name] !== undefined)
      throw tensorInvalid(`the parameter ${name} is not one of this server`);
  }
}

function readPriority(priority: unknown): InferTerms['priority'] {
  if (priority === undefined || priority === 'live') return 'live';
  if (priority === 'batch') return 'batch';
  if (isWhole(priority) && priority >= 0) return priority > 1 ? 'batch' : 'live';
  throw invalid('body.parameters.priority', "'live', 'batch' or a whole number");
}

function readInput(inputs: unknown, blob: Uint8Array, loaded: LoadedSchema): InputRows {
  const list = items(inputs, 'body.inputs');
  if (list.length !== 1) throw tensorInvalid(`expected one input, got ${list.length}`);
  const input = fields(list[0], 'body.inputs.0');
  const parameters = optionalFields(input.parameters, 'body.inputs.0.parameters');
  refuseForeign(parameters);
  const rows = readShape(input as unknown as DeclaredTensor, loaded.schema.columns.length);
  const size = parameters.binary_data_size;
  if (size === undefined) {
    if (blob.length > 0) throw tensorInvalid(`${blob.length} bytes after the JSON belong to no input`);
    return { rows, values: valuesFromList(input.data, rows, loaded) };
  }
  if (input.data !== undefined) throw tensorInvalid('expected data or binary_data_size, got both');
  if (size !== blob.length) {
    throw tensorInvalid(`expected ${blob.length} as binary_data_size, which is what follows the JSON`);
  }
  return { rows, values: valuesFromBytes(blob, rows, loaded) };
}

function readOutputs(outputs: unknown, allBinary: unknown): readonly WantedOutput[] {
  const isBinary = flag(allBinary, 'body.parameters.binary_data_output');
  if (outputs === undefined) return isBinary ? ALL_AS_BYTES : ALL_AS_JSON;
  const list = items(outputs, 'body.outputs');
  if (list.length === 0) return isBinary ? ALL_AS_BYTES : ALL_AS_JSON;
  const wanted: WantedOutput[] = [];
  for (const [i, each] of list.entries()) {
    const output = fields(each, `body.outputs.${i}`);
    const parameters = optionalFields(output.parameters, `body.outputs.${i}.parameters`);
    refuseForeign(parameters);
    const own = parameters.binary_data;
    wanted.push({
      index: findOutput(output.name, wanted),
      isBinary: own === undefined ? isBinary : flag(own, `body.outputs.${i}.parameters.binary_data`),
    });
  }
  return wanted;
}

function fields(value: unknown, place: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(place, 'an object');
}

function optionalFields(value: unknown, place: string): Fields {
  return value === undefined ? NO_FIELDS : fields(value, place);
}

function items(value: unknown, place: string): readonly unknown[] {
  if (Array.isArray(value) && value.length <= SERVER_LIMITS.tensors) return value;
  throw invalid(place, `a list of at most ${SERVER_LIMITS.tensors}`);
}

function flag(value: unknown, place: string): boolean {
  if (value === undefined) return false;
  if (typeof value === 'boolean') return value;
  throw invalid(place, 'true or false');
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function invalid(place: string, expected: string): ServerError {
  return new ServerError('server.request-invalid', `${place}: expected ${expected}`);
}
