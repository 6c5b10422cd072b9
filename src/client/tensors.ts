import { clientError } from './errors.ts';

/** Scores of rows, in their order. */
export interface InferredRows {
  readonly model: string;
  readonly version: string;
  /** Of being an attack. */
  readonly probability: Float32Array;
  readonly verdict: readonly string[];
  /** Empty where none is named. */
  readonly kind: readonly string[];
  /** `digest`, `certificate`, and `degraded` where a fallback answered. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

interface OutputTensor {
  readonly name: string;
  readonly parameters?: { readonly binary_data_size: number };
}

interface InferenceJson {
  readonly model_name: string;
  readonly model_version: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly outputs: readonly OutputTensor[];
}

/** Length of the JSON, where bytes follow it. */
export const JSON_LENGTH = 'inference-header-content-length';

/**
 * A request of the Open Inference Protocol with its tensor as bytes. Values are row-major `rows` x columns, NaN where
 * one is missing. Throws `client.request-invalid`.
 */
export function encodeRows(
  values: Float32Array,
  rows: number,
): { readonly body: Uint8Array; readonly jsonLength: number } {
  const columns = values.length / rows;
  if (!Number.isInteger(columns)) {
    throw clientError(
      'client.request-invalid',
      `${values.length} values are no ${rows} rows of equal length`,
    );
  }
  const json = new TextEncoder().encode(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [
        {
          name: 'features',
          datatype: 'FP32',
          shape: [rows, columns],
          parameters: { binary_data_size: values.length * 4 },
        },
      ],
    }),
  );
  const body = new Uint8Array(json.length + values.length * 4);
  body.set(json);
  const view = new DataView(body.buffer, json.length);
  for (let i = 0; i < values.length; i++) view.setFloat32(i * 4, values[i] as number, true);
  return { body, jsonLength: json.length };
}

/** Reads an answer whose outputs are bytes. Throws `client.answer-malformed`. */
export function decodeRows(bytes: Uint8Array, jsonLength: number): InferredRows {
  try {
    const text = new TextDecoder().decode(bytes.subarray(0, jsonLength));
    const answer = JSON.parse(text) as InferenceJson;
    const parts = new Map<string, Uint8Array>();
    let offset = jsonLength;
    for (const { name, parameters } of answer.outputs) {
      const size = parameters?.binary_data_size ?? Number.NaN;
      if (!(size >= 0 && offset + size <= bytes.length)) throw new RangeError(`${name} ends past the answer`);
      parts.set(name, bytes.subarray(offset, offset + size));
      offset += size;
    }
    return {
      model: answer.model_name,
      version: answer.model_version,
      probability: floatsOf(part(parts, 'probability')),
      verdict: textsOf(part(parts, 'verdict')),
      kind: textsOf(part(parts, 'kind')),
      parameters: answer.parameters,
    };
  } catch (cause) {
    throw clientError('client.answer-malformed', 'expected outputs as bytes after their JSON', {
      status: 200,
      cause,
    });
  }
}

function part(parts: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array {
  const found = parts.get(name);
  if (found === undefined) throw new RangeError(`no output ${name}`);
  return found;
}

function floatsOf(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => view.getFloat32(i * 4, true));
}

/** Each text after its length in four bytes. */
function textsOf(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder();
  const texts: string[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const length = view.getUint32(at, true);
    if (at + 4 + length > bytes.byteLength) throw new RangeError('a text ends past its output');
    texts.push(decoder.decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return texts;
}
