import { CERTIFICATE_STATES, type ScoreColumns, VERDICTS } from '../../inference/index.ts';
import type { WantedOutput } from './infer-request.ts';
import { OUTPUTS } from './tensors.ts';

/** Header with the length of the JSON where bytes follow it. */
export const JSON_LENGTH_HEADER = 'inference-header-content-length';

/** A body: all JSON, or JSON and then the outputs that were wanted as bytes. */
export type InferAnswer = { readonly json: string } | { readonly body: Buffer; readonly jsonLength: number };

/** The outputs of a text, by index into a table: `texts[i]` or, for -1, the empty text. */
interface TextColumn {
  readonly index: Uint8Array | Int16Array;
  readonly table: TextTable;
}

/** Texts that outputs choose among, as JSON and as bytes with their length before them; the empty one comes last. */
interface TextTable {
  readonly json: readonly string[];
  readonly bytes: readonly Buffer[];
}

const VERDICT_TABLE = textTable(VERDICTS);
const kindTables = new WeakMap<readonly string[], TextTable>();
/** JSON of name and type, up to the shape. */
const OUTPUT_HEADS = OUTPUTS.map(
  ({ name, datatype }) => `{"name":"${name}","datatype":"${datatype}","shape":[`,
);

/** The response object as the protocol tells it. Written by hand: an object a tensor would cost more than the score. */
export function writeAnswer(
  columns: ScoreColumns,
  call: { readonly id?: string; readonly outputs: readonly WantedOutput[] },
): InferAnswer {
  const { model } = columns;
  const parameters = answerParameters(columns);
  let json = `{"model_name":${JSON.stringify(model.name)},"model_version":${JSON.stringify(model.version)}`;
  if (call.id !== undefined) json += `,"id":${JSON.stringify(call.id)}`;
  json += `,"parameters":${JSON.stringify(parameters)},"outputs":[`;
  const blobs: Buffer[] = [];
  for (const [i, { index, isBinary }] of call.outputs.entries()) {
    json += `${i === 0 ? '' : ','}${OUTPUT_HEADS[index]}${columns.rows}],`;
    if (isBinary) {
      const blob = outputBytes(columns, index);
      blobs.push(blob);
      json += `"parameters":{"binary_data_size":${blob.length}}}`;
    } else json += `"data":[${outputJson(columns, index)}]}`;
  }
  json += ']}';
  if (blobs.length === 0) return { json };
  const head = Buffer.from(json);
  return { body: Buffer.concat([head, ...blobs]), jsonLength: head.length };
}

/** What an answer says beside its outputs. */
export function answerParameters(columns: ScoreColumns): Readonly<Record<string, string>> {
  return {
    digest: columns.model.digest,
    certificate: certificateOf(columns),
    ...(columns.degraded !== undefined && { degraded: columns.degraded }),
  };
}

/** An output as the protocol's bytes: little-endian floats, or each text after its length in 4 bytes. */
export function outputBytes(columns: ScoreColumns, output: number): Buffer {
  if (output === 0) return floatBytes(columns.probability, columns.rows);
  const { index, table } = textColumn(columns, output);
  const parts: Buffer[] = [];
  for (let i = 0; i < columns.rows; i++) parts.push(at(table.bytes, index[i] as number));
  return Buffer.concat(parts);
}

/** An output as texts; the probability has none. */
export function outputTexts(columns: ScoreColumns, output: number): Buffer[] {
  const { index, table } = textColumn(columns, output);
  return Array.from({ length: columns.rows }, (_, i) => at(table.bytes, index[i] as number).subarray(4));
}

/** The state that every row has; `mixed` where they differ. */
function certificateOf({ certificate, rows }: ScoreColumns): string {
  const first = certificate[0] ?? 0;
  for (let i = 1; i < rows; i++) if (certificate[i] !== first) return 'mixed';
  return CERTIFICATE_STATES[first] as string;
}

function outputJson(columns: ScoreColumns, output: number): string {
  const { rows } = columns;
  let json = '';
  if (output === 0) {
    const { probability } = columns;
    for (let i = 0; i < rows; i++) json += i === 0 ? probability[i] : `,${probability[i]}`;
    return json;
  }
  const { index, table } = textColumn(columns, output);
  for (let i = 0; i < rows; i++) {
    const text = at(table.json, index[i] as number);
    json += i === 0 ? text : `,${text}`;
  }
  return json;
}

function textColumn(columns: ScoreColumns, output: number): TextColumn {
  if (OUTPUTS[output]?.name === 'verdict') return { index: columns.verdict, table: VERDICT_TABLE };
  let table = kindTables.get(columns.kinds);
  if (table === undefined) {
    table = textTable(columns.kinds);
    kindTables.set(columns.kinds, table);
  }
  return { index: columns.kind, table };
}

function at<T>(list: readonly T[], index: number): T {
  return list[index < 0 ? list.length - 1 : index] as T;
}

function textTable(texts: readonly string[]): TextTable {
  const all = [...texts, ''];
  return {
    json: all.map((text) => JSON.stringify(text)),
    bytes: all.map((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return Buffer.concat([length, bytes]);
    }),
  };
}

/** A view: the arrays are the request's own. */
function floatBytes(values: Float32Array, rows: number): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, rows * 4);
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 1) return bytes;
  return Buffer.from(bytes).swap32();
}
